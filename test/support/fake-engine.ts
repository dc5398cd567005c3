import type { Device, Engine, Stage, StageMemory, StageOptions } from '../../engine/engine.js';
import { readModelSizes } from '../../model/architectures/model.js';
import { tensorsOfShard } from '../../model/shard-tensors.js';
import { DeterministicStage } from './deterministic-stage.js';

/** An engine whose stages are exact functions of their cells. It reads all weights, and has the memory that it is told. */
export class FakeEngine implements Engine {
  readonly name = 'ggml';
  readonly versions = {};
  readonly threads = 1;
  freeBytes = 1e9;
  /** What every stage takes. */
  memory: StageMemory = { weights: 1000, kv: 100, compute: 10 };
  /** Stages that are loaded and not disposed of. */
  living = 0;
  loads = 0;
  /** What loading waits for once it has begun; it can be given up all the time. */
  pause: Promise<void> = Promise.resolve();
  /** What every step takes. */
  delay = (): Promise<void> => Promise.resolve();

  get device(): Device {
    return {
      name: 'fake',
      description: 'no processor at all',
      kind: 'cpu',
      freeBytes: this.freeBytes,
      totalBytes: this.freeBytes,
      bufferTypes: [],
    };
  }

  devices(): readonly Device[] {
    return [this.device];
  }

  estimate(): StageMemory {
    return this.memory;
  }

  async load({ source, shard, onProgress, signal }: StageOptions): Promise<Stage> {
    this.loads++;
    const tensors = tensorsOfShard(source.tensors, shard);
    const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
    let loaded = 0;
    for (const { name, bytes } of tensors) {
      signal?.throwIfAborted();
      await source.read(name, 0, new Uint8Array(bytes));
      onProgress?.((loaded += bytes), total);
    }
    signal?.throwIfAborted();
    await Promise.race([this.pause, aborted(signal)]);
    const { hiddenSize } = readModelSizes(source);
    this.living++;
    return new FakeStage(this, { hiddenSize, shard });
  }
}

class FakeStage extends DeterministicStage {
  override readonly memory: StageMemory;
  #isDisposed = false;

  constructor(
    private readonly engine: FakeEngine,
    options: ConstructorParameters<typeof DeterministicStage>[2] & {
      readonly shard: Stage['shard'];
    },
  ) {
    super(options.shard.head, () => engine.delay(), options);
    this.memory = engine.memory;
  }

  override dispose(): void {
    if (this.#isDisposed) throw new Error('disposed of twice');
    this.#isDisposed = true;
    this.engine.living--;
    super.dispose();
  }
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
