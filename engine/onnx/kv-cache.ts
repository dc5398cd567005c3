import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import type { Shard } from '../../model/shard.js';
import { EngineError } from '../engine.js';
import type { CacheKind } from './graph/kv-names.js';
import { storageBytes, type KvStorage } from './kv-type.js';
import { fixed } from './memory.js';

/** Keys or values of one layer. */
export interface LayerCache {
  /** [kvHeads, cells, headSize] */
  readonly numbers: Float32Array | Int8Array;
  /** f32 [kvHeads, headSize]: what whole numbers are to be multiplied by. Without them they are what they are. */
  readonly scales?: Float32Array;
}

/**
 * The KV cache of a stage's layers in the process's memory. A head's cells follow each other, so a view that begins at
 * a later cell has the cells of every head in the same distance, and its last head ends beyond the cells: there is
 * room for that, which nobody ever touches and which therefore takes no memory.
 */
export class KvCache {
  readonly #layers: readonly Readonly<Record<CacheKind, LayerCache>>[];

  /** @throws EngineError when there is not enough memory */
  constructor(
    readonly sizes: Pick<Hyperparameters, 'kvHeads' | 'headSize'>,
    private readonly shard: Shard,
    readonly cells: number,
    private readonly storage: KvStorage,
    scalesOf?: KvCache,
  ) {
    const length = (sizes.kvHeads + 1) * cells * sizes.headSize;
    const emptyCache = (layer: number, kind: CacheKind): LayerCache => {
      if (storage === 'f32') return { numbers: fixed.f32(length) };
      const known = scalesOf?.layer(layer)[kind].scales;
      return {
        numbers: fixed.i8(length),
        scales: known ?? fixed.f32(sizes.kvHeads * sizes.headSize),
      };
    };
    try {
      this.#layers = layersOf(shard).map((layer) => ({
        keys: emptyCache(layer, 'keys'),
        values: emptyCache(layer, 'values'),
      }));
    } catch {
      throw outOfKvMemory();
    }
  }

  /** An empty one of the same layers and scales. @throws EngineError when there is not enough memory */
  emptyWith(cells: number): KvCache {
    return new KvCache(this.sizes, this.shard, cells, this.storage, this);
  }

  /** Indices of the layers. */
  get layers(): readonly number[] {
    return layersOf(this.shard);
  }

  layer(index: number): Readonly<Record<CacheKind, LayerCache>> {
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
    return this.sizes.headSize * storageBytes[this.storage];
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
