import { describe, expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import type { Stage, StageOptions } from '../../engine/engine.js';
import { bindGgml, tensorType, type Ggml } from '../../engine/ggml/bindings.js';
import { cpuDevice, listDevices } from '../../engine/ggml/devices.js';
import { GgmlStage } from '../../engine/ggml/ggml-stage.js';
import { FlashAttention } from '../../engine/ggml/attention/flash-attention.js';
import { KvCache } from '../../engine/ggml/attention/kv-cache.js';
import { randomTokens } from '../../model/random-tokens.js';
import { openTestEngine } from '../support/engines.js';
import { tinyModel } from '../support/tiny-model.js';

const source = tinyModel('q8_0');
const none = new Float32Array(0);
const options: StageOptions = {
  source,
  shard: { firstLayer: 0, endLayer: 3, embedding: true, head: true },
  cells: 256,
  kvType: 'f16',
  maxStepRows: 256,
};
const step = textStep(randomTokens(200, 300), { cells: { start: 0, length: 256 } });

function load(change: Partial<StageOptions> = {}): Promise<Stage> {
  return openTestEngine('ggml').load({ ...options, ...change });
}

describe('a stage of ggml', () => {
  test('is freed when the step that it computes is done', async () => {
    const stage = await load();
    const expected = await stage.forward(step, none, none);
    const running = stage.forward(step, none, none);
    stage.dispose();
    stage.dispose();
    await expect(stage.forward(step, none, none)).rejects.toMatchObject({ code: 'internal' });
    expect(await running).toEqual(expected);
    expect(stage.memory).toEqual({ weights: 0, kv: 0, compute: 0 });
  });

  test('refuses everything once it is closed', async () => {
    const stage = await load();
    stage.dispose();
    const closed = { name: 'EngineError', code: 'internal', message: 'this stage is closed' };
    await expect(stage.forward(step, none, none)).rejects.toMatchObject(closed);
    await expect(stage.logits(step, none)).rejects.toMatchObject(closed);
    stage.abort?.();
    stage.dispose();
  });

  test('computes one step at a time', async () => {
    const stage = await load();
    const running = stage.forward(step, none, none);
    await expect(stage.forward(step, none, none)).rejects.toMatchObject({ code: 'internal' });
    await running;
    stage.dispose();
  });

  test('is not hit by an abort that comes when nothing is computed', async () => {
    const stage = await load();
    stage.abort?.();
    const expected = await stage.forward(step, none, none);
    stage.abort?.();
    expect(await stage.forward(step, none, none)).toEqual(expected);
    stage.dispose();
  });

  test('gives a step up that is not computed yet', async () => {
    const stage = await load({ cells: 65_536 });
    const cells = { start: 0, length: 65_536 };
    const text = randomTokens(60_000, 300);
    // Its mask takes several turns of the event loop.
    const late = textStep(text, { first: 59_000, count: 256, cells, choices: 'last' });
    const useless = stage.forward(late, none, none);
    stage.abort?.();
    await expect(useless).rejects.toMatchObject({ code: 'compute', message: /given up/ });
    expect(await stage.forward(step, none, none)).toHaveLength(1);
    stage.dispose();
  });

  test('fills the cells of its only layer where nothing is wanted', async () => {
    const shard = { firstLayer: 2, endLayer: 3, embedding: false, head: true };
    const stage = await load({ shard });
    const hidden = new Float32Array(200 * stage.hiddenSize);
    const silent = textStep(randomTokens(200, 300), {
      cells: { start: 0, length: 256 },
      choices: 'none',
    });
    const results = await stage.forward(silent, hidden, none);
    expect(results).toEqual([{ sequence: 1, choices: new Int32Array(0) }]);
    stage.dispose();
  });
});

describe('loading', () => {
  test('ends with the reason of its signal', async () => {
    const reason = new Error('nobody waits for it');
    const giveUp = new AbortController();
    let reports = 0;
    const onProgress = () => {
      reports++;
      giveUp.abort(reason);
    };
    await expect(load({ onProgress, signal: giveUp.signal })).rejects.toBe(reason);
    expect(reports).toBe(1);
    await expect(load({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test('clears the KV cache without holding up the event loop', async () => {
    const ggml = bindGgml('default');
    const { bufferType } = cpuDevice(listDevices(ggml));
    const heads = { heads: 8, kvHeads: 8, keySize: 256, valueSize: 256, scale: 1 };
    const layer = {
      attention: { kind: 'gqa', ...heads },
      feedForward: { kind: 'dense', size: 256 },
      operations: 1,
      products: 1,
    } as const;
    const layers = Array.from(
      { length: options.shard.endLayer - options.shard.firstLayer },
      () => layer,
    );
    const way = new FlashAttention(ggml, tensorType.f16, 1024);
    const choose = () => Promise.resolve(way);
    let turned = false;
    setImmediate(() => (turned = true));
    using cache = await KvCache.allocate(ggml, bufferType, layers, choose, options);
    await cache.clear(undefined);
    expect(turned).toBe(true);
    expect(cache.bytes).toBeGreaterThan(0);

    const giveUp = new AbortController();
    const reason = new Error('nobody waits for it');
    setImmediate(() => giveUp.abort(reason));
    const loading = cache.clear(giveUp.signal);
    await expect(loading).rejects.toBe(reason);
  });
});

/** Calls that take a native object, with those that give it back; and others that may fail. */
const taking = [
  ['newContext', 'freeContext'],
  ['newBackend', 'freeBackend'],
  ['newAllocator', 'freeAllocator'],
  ['allocateBuffer', 'freeBuffer'],
  ['allocateTensors', 'freeBuffer'],
] as const;
const others = ['reserveGraph', 'allocateGraph', 'mulMat', 'tensorSet'] as const;

/** Native objects that are taken and not given back. */
class Ledger {
  readonly #taken = new Map<unknown, string>();
  #calls = 0;

  /** @param failing index of the call that fails; later ones succeed */
  constructor(private readonly failing: number) {}

  get calls(): number {
    return this.#calls;
  }

  get leaks(): string[] {
    return [...this.#taken.values()];
  }

  /** ggml whose objects are counted, and of whose calls that take one, or can fail, one fails. */
  watch(ggml: Ggml): Ggml {
    const watched: Record<string, unknown> = { ...ggml };
    const wrap = (name: keyof Ggml, action: (result: unknown, values: unknown[]) => void) => {
      const original = ggml[name] as (...values: unknown[]) => unknown;
      watched[name] = Object.assign(
        (...values: unknown[]) => {
          const result = original(...values);
          action(result, values);
          return result;
        },
        { async: (original as { async?: unknown }).async },
      );
    };
    for (const [name, free] of taking)
      wrap(name, (result) => {
        this.#taken.set(result, name);
        this.#mayFail(name, () => {
          this.#taken.delete(result);
          ggml[free](result as bigint);
        });
      });
    for (const name of new Set(taking.map(([, free]) => free)))
      wrap(name, (_, [object]) => {
        if (!this.#taken.delete(object)) throw new Error(`${name} of what was not taken`);
      });
    for (const name of others) wrap(name, () => this.#mayFail(name, () => undefined));
    return watched as Ggml;
  }

  #mayFail(name: string, undo: () => void): void {
    if (this.#calls++ !== this.failing) return;
    undo();
    throw new Error(`${name} failed`);
  }
}

test('a load that fails leaves nothing behind, wherever it fails', async () => {
  const ggml = bindGgml('default');
  const cpu = cpuDevice(listDevices(ggml));
  const loadWith = async (ledger: Ledger): Promise<GgmlStage> => {
    const watched = ledger.watch(ggml);
    const context = {
      ggml: watched,
      device: cpu,
      cpu,
      threads: 1,
      knownRules: new Map(),
      knownAttention: new Map(),
    };
    const shard = { ...options.shard, endLayer: 1 };
    return GgmlStage.load(context, { ...options, shard, cells: 64, maxStepRows: 8 });
  };
  const good = new Ledger(Infinity);
  const stage = await loadWith(good);
  expect(good.leaks.length).toBeGreaterThan(5);
  stage.dispose();
  expect(good.leaks).toEqual([]);
  for (let call = 0; call < good.calls; call++) {
    const ledger = new Ledger(call);
    await expect(loadWith(ledger), `call ${call}`).rejects.toThrow(/failed/);
    expect(ledger.leaks, `call ${call}`).toEqual([]);
  }
});
