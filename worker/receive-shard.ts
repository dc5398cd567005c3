import type { MetadataValue } from '../model/tensor-source.js';
import { WorkerError } from './errors.js';
import { ReceivedShard, type ReceivedTensor } from './received-shard.js';
import type { TensorCache, TensorWriter } from './tensor-cache.js';

/**
 * Takes the tensors of a shard from the coordinator, those that the cache lacks, and gives them as a source.
 * The coordinator sends them one after the other, each in order.
 */
export class ShardReceiver {
  readonly #missing = new Map<string, ReceivedTensor>();
  #writer: TensorWriter | undefined;
  #received = 0;
  #queue: Promise<void> = Promise.resolve();
  #finish!: (error?: Error) => void;
  /** Resolves when every tensor is in the cache; rejects with WorkerError. */
  readonly complete: Promise<void>;

  constructor(
    private readonly cache: TensorCache,
    private readonly metadata: ReadonlyMap<string, MetadataValue>,
    private readonly tensors: readonly ReceivedTensor[],
    private readonly fingerprint: string,
    private readonly onProgress: (received: number, total: number) => void,
  ) {
    this.complete = new Promise((resolve, reject) => {
      this.#finish = (error) => (error ? reject(error) : resolve());
    });
    this.complete.catch(() => undefined);
  }

  /** Names of the tensors to send. @throws WorkerError when the disk has no room for them. */
  async missing(): Promise<string[]> {
    for (const tensor of this.tensors)
      if (!(await this.cache.has(tensor.sha256, tensor.bytes)))
        this.#missing.set(tensor.name, tensor);
    await this.cache.checkRoom(this.#totalBytes());
    if (this.#missing.size === 0) this.#finish();
    return [...this.#missing.keys()];
  }

  /** Stores one part of a tensor. `data` may be reused when the promise resolves. */
  receive(name: string, offset: number, data: Uint8Array): Promise<void> {
    this.#queue = this.#queue.then(() => this.#store(name, offset, data)).catch(this.#finish);
    return this.#queue;
  }

  /** The complete shard. */
  source(): ReceivedShard {
    return new ReceivedShard(this.cache, this.metadata, this.tensors, this.fingerprint);
  }

  /** Gives up: the coordinator is gone. */
  async abort(reason: string): Promise<void> {
    this.#finish(new WorkerError(reason));
    await this.#queue;
    await this.#writer?.discard();
  }

  async #store(name: string, offset: number, data: Uint8Array): Promise<void> {
    if (this.#writer?.name !== name) {
      const tensor = this.#missing.get(name);
      if (!tensor || this.#writer) throw new WorkerError(`tensor ${name} was not expected now`);
      this.#writer = await this.cache.store(name, tensor.sha256, tensor.bytes);
    }
    const total = this.#totalBytes();
    this.#received += data.byteLength;
    if (await this.#writer.append(offset, data)) {
      this.#writer = undefined;
    }
    this.onProgress(this.#received, total);
    if (this.#received === total) this.#finish();
  }

  #totalBytes(): number {
    return [...this.#missing.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }
}
