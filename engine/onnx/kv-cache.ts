import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import type { Shard } from '../../model/shard.js';
import { EngineError } from '../engine.js';
import { fixed } from './memory.js';

/** Keys and values of one layer: f32 [kvHeads, cells, headSize] each. */
export interface LayerCache {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/**
 * The KV cache of a stage's layers in the process's memory. A head's cells follow each other, so a view that begins at
 * a later cell has the cells of every head in the same distance, and its last head ends beyond the cells: there is
 * room for that, which nobody ever touches and which therefore takes no memory.
 */
export class KvCache {
  readonly #layers: LayerCache[];

  /** @throws EngineError when there is not enough memory */
  constructor(
    readonly sizes: Pick<Hyperparameters, 'kvHeads' | 'headSize'>,
    private readonly shard: Shard,
    readonly cells: number,
  ) {
    const length = (sizes.kvHeads + 1) * cells * sizes.headSize;
    try {
      this.#layers = layersOf(shard).map(() => ({
        keys: fixed.f32(length),
        values: fixed.f32(length),
      }));
    } catch {
      throw outOfKvMemory();
    }
  }

  /** An empty one of the same layers. @throws EngineError when there is not enough memory */
  emptyWith(cells: number): KvCache {
    return new KvCache(this.sizes, this.shard, cells);
  }

  /** Indices of the layers. */
  get layers(): readonly number[] {
    return layersOf(this.shard);
  }

  layer(index: number): LayerCache {
    const layer = this.#layers[index - this.shard.firstLayer];
    if (!layer) throw new EngineError(`layer ${index} is not of this shard`);
    return layer;
  }

  /** Shape of a layer's keys, as ONNX Runtime is to see them. */
  get shape(): readonly number[] {
    return [1, this.sizes.kvHeads, this.cells, this.sizes.headSize];
  }

  /** Bytes of one head's cell. */
  get cellBytes(): number {
    return this.sizes.headSize * 4;
  }

  get bytes(): number {
    return 2 * this.#layers.length * this.sizes.kvHeads * this.cells * this.cellBytes;
  }
}

/** @param cause where there is one to tell */
export function outOfKvMemory(cause?: string): EngineError {
  return new EngineError(
    `not enough memory for the KV cache${cause === undefined ? '' : ` (${cause})`}: give this stage fewer layers (--layers) or a smaller --context`,
  );
}

/** Indices of a shard's layers. */
export function layersOf({ firstLayer, endLayer }: Shard): number[] {
  return Array.from({ length: endLayer - firstLayer }, (_, i) => firstLayer + i);
}
