import { tensorsOfShard, type Shard } from '../model/shard.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Messages } from '../transport/messages.js';
import type { CellMap } from './cells.js';
import { channelOf, codecOf, type CoordinatorOptions } from './coordinator-options.js';
import type { RemoteWorker } from './remote-worker.js';
import { TensorHashes } from './tensor-hashes.js';

/** What workers are told to load. */
export class LoadMessages {
  readonly #hashes: TensorHashes;

  /**
   * @param shards of all stages, the coordinator's first
   * @param cellMap of the KV caches
   */
  constructor(
    private readonly options: CoordinatorOptions,
    private readonly workers: readonly RemoteWorker[],
    private readonly shards: readonly Shard[],
    private readonly cellMap: CellMap,
  ) {
    this.#hashes = new TensorHashes(options.source, options.cacheDirectory);
  }

  /** @param index of the worker, in pipeline order */
  async of(index: number): Promise<Messages['load']> {
    const { source, kvType, chunkTokens } = this.options;
    const shard = this.shards[index + 1] as Shard;
    const worker = this.workers[index] as RemoteWorker;
    const next = this.workers[index + 1]?.address;
    const { transport, rdmaQueue } = channelOf(this.options);
    return {
      shard,
      modelFingerprint: source.fingerprint,
      ...(await this.#contents(worker, shard)),
      cells: this.cellMap.cells,
      conversations: this.cellMap.conversations,
      kvType,
      maxBatchTokens: chunkTokens,
      codecIn: codecOf(this.options, index),
      codecOut: next ? codecOf(this.options, index + 1) : '',
      nextHost: next?.host ?? '',
      nextPort: next?.port ?? 0,
      transport,
      rdmaQueue: rdmaQueue ?? '',
    };
  }

  /** What a worker without the model file has to be sent. */
  async #contents(
    worker: RemoteWorker,
    shard: Shard,
  ): Promise<Pick<Messages['load'], 'metadata' | 'tensors'>> {
    if (worker.welcome.modelFingerprint !== '') return { metadata: '', tensors: [] };
    const { source } = this.options;
    const tensors = tensorsOfShard(source.tensors, shard);
    const sha256 = await this.#hashes.of(tensors);
    return {
      metadata: engineMetadata(source),
      tensors: tensors.map(({ name, type, shape, bytes }, i) => ({
        name,
        type: type.id,
        shape: [...shape],
        bytes,
        sha256: sha256[i] ?? '',
      })),
    };
  }
}

/** Vocabularies are large, and of no use to an engine. */
function engineMetadata({ metadata }: TensorSource): string {
  return JSON.stringify(
    [...metadata].filter(
      ([key, value]) => !key.startsWith('tokenizer.') && typeof value !== 'bigint',
    ),
  );
}
