import { promisify } from 'node:util';
import type { CheckedModel } from '../../model/architectures/check-model.js';
import { layerMemory, type CellMemory, type Layer } from '../../model/architectures/layer.js';
import { EngineError, type StageOptions } from '../engine.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import { TensorArena } from './tensor-arena.js';

/** Bytes that are cleared at a time, so that loading can be given up. */
const pieceBytes = 256 << 20;

/** A row of numbers for every cell. */
export interface CellRows {
  /** [elements of a row, cells] */
  readonly tensor: Pointer;
  readonly rowBytes: number;
}

/** Keys and values of one layer. */
export interface LayerCache {
  readonly keys: CellRows;
  readonly values: CellRows;
}

/** The KV cache of a stage's layers. A cell has the same index on every stage. */
export class KvCache implements Disposable {
  readonly #type: number;
  readonly #arena: TensorArena;
  readonly #layers: readonly LayerCache[];
  readonly #firstLayer: number;

  private constructor(
    private readonly ggml: Ggml,
    bufferType: Pointer,
    layers: readonly CellMemory[],
    { shard, cells, kvType }: StageOptions,
  ) {
    this.#type = tensorType[kvType];
    this.#firstLayer = shard.firstLayer;
    const arena = new TensorArena(ggml, bufferType, layers.length * 2);
    this.#arena = arena;
    const rows = (elements: number): CellRows => ({
      tensor: ggml.newTensor2d(arena.context, this.#type, elements, cells),
      rowBytes: this.bytesOf(elements),
    });
    this.#layers = layers.map(({ keyElements, valueElements }) => ({
      keys: rows(keyElements),
      values: rows(valueElements),
    }));
  }

  /** @throws EngineError 'memory', or 'unsupported' when the type does not fit the heads; the signal's reason */
  static async allocate(
    ggml: Ggml,
    bufferType: Pointer,
    { architecture, sizes }: CheckedModel,
    options: StageOptions,
  ): Promise<KvCache> {
    const { kvType, cells, shard, signal } = options;
    const block = ggml.blockSize(tensorType[kvType]);
    if (sizes.headSize % block !== 0)
      throw new EngineError(
        'unsupported',
        `KV type ${kvType} needs a head size that is a multiple of ${block}, this model's is ${sizes.headSize}: use --kv-type f16`,
      );
    const layers = architecture.layers(sizes).slice(shard.firstLayer, shard.endLayer);
    const cache = new KvCache(ggml, bufferType, layers.map(cellsOf), options);
    try {
      cache.#arena.allocate('KV cache');
      await cache.#clear(cells, signal);
      return cache;
    } catch (error) {
      cache[Symbol.dispose]();
      throw error;
    }
  }

  get bytes(): number {
    return this.#arena.bytes;
  }

  /** Bytes of some neighbouring numbers in a row. */
  bytesOf(elements: number): number {
    return this.ggml.rowBytes(this.#type, elements);
  }

  layer(index: number): LayerCache {
    const layer = this.#layers[index - this.#firstLayer];
    if (!layer) throw new EngineError('internal', `layer ${index} is not of this shard`);
    return layer;
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }

  /** Attention multiplies masked cells by zero, so what never was written must be finite. */
  async #clear(cells: number, signal: AbortSignal | undefined): Promise<void> {
    const fill = promisify(this.ggml.tensorFill.async);
    for (const { tensor, rowBytes } of this.#layers.flatMap(({ keys, values }) => [keys, values])) {
      const bytes = rowBytes * cells;
      for (let offset = 0; offset < bytes; offset += pieceBytes) {
        signal?.throwIfAborted();
        await fill(tensor, 0, offset, Math.min(pieceBytes, bytes - offset));
      }
    }
  }
}

function cellsOf(layer: Layer): CellMemory {
  const memory = layerMemory(layer);
  if (memory.kind === 'cells' && memory.valueElements > 0) return memory;
  throw new EngineError('unsupported', 'ggml keeps keys and values only: use another model');
}
