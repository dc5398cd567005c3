import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import type { Shard } from '../../model/shard.js';
import { EngineError, type KvType } from '../engine.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import { TensorArena } from './tensor-arena.js';

/** Keys and values of one layer: [kvHeads · headSize, cells] each. */
export interface LayerCache {
  readonly keys: Pointer;
  readonly values: Pointer;
}

/** The KV cache of a stage's layers. A cell has the same index on every stage. */
export class KvCache implements Disposable {
  /** Bytes of one cell's keys (or values) in one layer. */
  readonly rowBytes: number;
  /** Bytes of one head in a cell. */
  readonly headBytes: number;
  readonly #arena: TensorArena;
  readonly #layers: LayerCache[];
  readonly #firstLayer: number;

  /** @throws EngineError when the memory is not there or the type does not fit the head size. */
  constructor(
    ggml: Ggml,
    bufferType: Pointer,
    sizes: Hyperparameters,
    shard: Shard,
    cells: number,
    kvType: KvType,
  ) {
    const type = tensorType[kvType];
    const block = ggml.blockSize(type);
    if (sizes.headSize % block !== 0)
      throw new EngineError(
        `KV type ${kvType} needs a head size that is a multiple of ${block}, this model's is ${sizes.headSize}: use --kv-type f16`,
      );
    const rowElements = sizes.kvHeads * sizes.headSize;
    this.rowBytes = ggml.rowBytes(type, rowElements);
    this.headBytes = ggml.rowBytes(type, sizes.headSize);
    this.#firstLayer = shard.firstLayer;
    const layers = shard.endLayer - shard.firstLayer;
    this.#arena = new TensorArena(ggml, bufferType, layers * 2);
    const tensor = () => ggml.newTensor2d(this.#arena.context, type, rowElements, cells);
    this.#layers = Array.from({ length: layers }, () => ({ keys: tensor(), values: tensor() }));
    // Attention multiplies masked cells by zero, so what never was written must be finite.
    if (layers > 0) ggml.clearBuffer(this.#arena.allocate('KV cache'), 0);
  }

  get bytes(): number {
    return this.#arena.bytes;
  }

  layer(index: number): LayerCache {
    const layer = this.#layers[index - this.#firstLayer];
    if (!layer) throw new EngineError(`layer ${index} is not of this shard`);
    return layer;
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}
