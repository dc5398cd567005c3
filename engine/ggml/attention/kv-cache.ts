import { promisify } from 'node:util';
import type { GroupedQueryAttention } from '../../../model/architectures/layer.js';
import type { Shard } from '../../../step/shard.js';
import { EngineError } from '../../engine.js';
import type { Ggml, Pointer } from '../bindings.js';
import { TensorArena } from '../tensor-arena.js';
import type { AttentionPiece, AttentionWay, LayerCache, SegmentShape } from './attention.js';

/** Bytes that are cleared at a time, so that loading can be given up. */
const pieceBytes = 256 << 20;

/** The KV cache of a stage's layers. A cell has the same index on every stage. */
export class KvCache implements Disposable {
  readonly #arena: TensorArena;
  readonly #layers: readonly LayerCache[];
  readonly #firstLayer: number;

  private constructor(
    private readonly ggml: Ggml,
    bufferType: Pointer,
    readonly attention: GroupedQueryAttention,
    readonly way: AttentionWay,
    { firstLayer, endLayer }: Shard,
  ) {
    this.#firstLayer = firstLayer;
    const arena = new TensorArena(ggml, bufferType, (endLayer - firstLayer) * 2);
    this.#arena = arena;
    this.#layers = Array.from({ length: endLayer - firstLayer }, () =>
      way.describe(arena.context, attention),
    );
  }

  /**
   * @param attention of all layers
   * @throws EngineError 'memory'; the signal's reason
   */
  static async allocate(
    ggml: Ggml,
    bufferType: Pointer,
    attention: GroupedQueryAttention,
    way: AttentionWay,
    { shard, signal }: { readonly shard: Shard; readonly signal?: AbortSignal },
  ): Promise<KvCache> {
    const cache = new KvCache(ggml, bufferType, attention, way, shard);
    try {
      cache.#arena.allocate('KV cache');
      await cache.#clear(signal);
      return cache;
    } catch (error) {
      cache[Symbol.dispose]();
      throw error;
    }
  }

  get bytes(): number {
    return this.#arena.bytes;
  }

  layer(index: number): LayerCache {
    const layer = this.#layers[index - this.#firstLayer];
    if (!layer) throw new EngineError('internal', `layer ${index} is not of this shard`);
    return layer;
  }

  /** In which pieces a segment is attended. */
  pieces(segment: SegmentShape): AttentionPiece[] {
    return this.way.pieces(this.attention, segment);
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }

  /** Attention multiplies masked cells by zero, so what never was written must be finite. */
  async #clear(signal: AbortSignal | undefined): Promise<void> {
    const fill = promisify(this.ggml.tensorFill.async);
    for (const tensor of this.#layers.flatMap(({ keys, values }) => [keys, values])) {
      const bytes = this.ggml.tensorBytes(tensor);
      for (let offset = 0; offset < bytes; offset += pieceBytes) {
        signal?.throwIfAborted();
        await fill(tensor, 0, offset, Math.min(pieceBytes, bytes - offset));
      }
    }
  }
}
