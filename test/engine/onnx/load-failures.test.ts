import { expect, test } from 'vitest';
import { OnnxStage } from '../../../engine/onnx/onnx-stage.js';
import { providerNamed } from '../../../engine/onnx/providers.js';
import { bindOnnxRuntime, type OnnxRuntime } from '../../../engine/onnx/runtime/api.js';
import { MatrixCache } from '../../../engine/onnx/weights/matrix-cache.js';
import { packedWeightsFolder } from '../../support/engines.js';
import { tinyModel } from '../../support/tiny-model.js';

/** Calls that give a native object, with those that release it; and others that may fail. */
const giving = {
  newSessionOptions: 'releaseSessionOptions',
  newPackedWeights: 'releasePackedWeights',
  newSession: 'releaseSession',
  newRunOptions: 'releaseRunOptions',
  newValue: 'releaseValue',
  newBinding: 'releaseBinding',
} as const satisfies Partial<Record<keyof OnnxRuntime, keyof OnnxRuntime>>;
const others = ['addConfig', 'addInitializer', 'bindInput', 'bindOutput'] as const;

type Call = (...values: unknown[]) => unknown;

/** Native objects that were given and not released. */
class Ledger {
  readonly #given = new Map<unknown, string>();
  #calls = 0;

  /** @param failing index of the call that fails; later ones succeed */
  constructor(private readonly failing: number) {}

  get calls(): number {
    return this.#calls;
  }

  get leaks(): string[] {
    return [...this.#given.values()];
  }

  /** A runtime whose objects are counted, and of whose calls one fails before it does anything. */
  watch(runtime: OnnxRuntime): OnnxRuntime {
    const functions = runtime as unknown as Record<string, Call>;
    const watched: Record<string, Call> = { ...functions };
    const watch = (name: string, replacement: (call: Call) => Call) => {
      watched[name] = replacement(functions[name] as Call);
    };
    for (const [name, release] of Object.entries(giving)) {
      watch(name, (call) => (...values) => {
        this.#mayFail(name);
        const object = call(...values);
        if (!(object instanceof Promise)) return this.#take(object, name);
        return object.then((made: unknown) => this.#take(made, name));
      });
      watch(release, (call) => (object) => {
        if (!this.#given.delete(object)) throw new Error(`${release} of what was not given`);
        return call(object);
      });
    }
    for (const name of others)
      watch(name, (call) => (...values) => {
        this.#mayFail(name);
        return call(...values);
      });
    return watched as unknown as OnnxRuntime;
  }

  #take(object: unknown, name: string): unknown {
    this.#given.set(object, name);
    return object;
  }

  #mayFail(name: string): void {
    if (this.#calls++ === this.failing) throw new Error(`${name} failed`);
  }
}

test('a load that fails leaves nothing behind, wherever it fails', async () => {
  const matrices = new MatrixCache(packedWeightsFolder(), { threads: 1 });
  const loadWith = (ledger: Ledger) =>
    OnnxStage.load(
      {
        runtime: ledger.watch(bindOnnxRuntime()),
        provider: providerNamed('cpu'),
        threads: 1,
        matrices,
        requantize: false,
      },
      {
        source: tinyModel('q4_0'),
        shard: { firstLayer: 0, endLayer: 1, embedding: true, head: true },
        cells: 64,
        conversations: 2,
        kvType: 'f16',
        maxStepRows: 8,
      },
    );
  /** What is left once all that is released off the event loop is. */
  const leaksOf = async (ledger: Ledger) => {
    await expect.poll(() => ledger.leaks).toEqual([]);
  };
  // How kernels round is found out once in a process.
  (await loadWith(new Ledger(Infinity))).dispose();
  const good = new Ledger(Infinity);
  const stage = await loadWith(good);
  expect(good.leaks.length).toBeGreaterThan(5);
  stage.dispose();
  await leaksOf(good);
  for (let call = 0; call < good.calls; call++) {
    const ledger = new Ledger(call);
    await expect(loadWith(ledger), `call ${call}`).rejects.toThrow(/failed/);
    await leaksOf(ledger);
  }
});
