import { setImmediate } from 'node:timers/promises';
import { EngineError } from '../../engine.js';
import { cacheKinds, cellNames, scaleNames, type CacheKind } from '../graph/kv-names.js';
import { fixed } from '../runtime/fixed-arrays.js';
import type { IoBinding } from '../runtime/io-binding.js';
import { outOfKvMemory, type KvHeads, type KvMemory } from './kv-memory.js';
import { storageBytes, type KvStorage } from './kv-type.js';

/** Keys or values of one layer. */
interface LayerCells {
  /** [kvHeads, cells, headSize] */
  readonly numbers: Float32Array | Int8Array;
  /** f32 [kvHeads, headSize]: what whole numbers are to be multiplied by. Without them they are what they are. */
  readonly scales?: Float32Array;
}

type LayerKv = Readonly<Record<CacheKind, LayerCells>>;

/**
 * Keys and values in the process's memory, where any range of cells can be bound. A head's cells follow each other, so
 * a view that begins at a later cell has the cells of every head in the same distance, and its last head ends beyond
 * the cells: there is room for that, which nobody ever touches and which therefore takes no memory.
 */
export class HostKv implements KvMemory {
  /** What empty places are bound to. */
  #nobody: HostKv | undefined;

  private constructor(
    /** Of every layer. */
    readonly heads: ReadonlyMap<number, KvHeads>,
    readonly cells: number,
    private readonly storage: KvStorage,
    private readonly layers: ReadonlyMap<number, LayerKv>,
  ) {}

  /**
   * @param heads of every layer
   * @throws EngineError 'memory' when there is not enough, the signal's reason
   */
  static async allocate(
    heads: ReadonlyMap<number, KvHeads>,
    cells: number,
    storage: KvStorage,
    signal?: AbortSignal,
  ): Promise<HostKv> {
    const layers = new Map<number, LayerKv>();
    for (const [index, of] of heads) {
      // Much memory at once has the collector hold up the event loop.
      await setImmediate();
      signal?.throwIfAborted();
      layers.set(index, emptyLayer(of, cells, storage));
    }
    return new HostKv(heads, cells, storage, layers);
  }

  /** Empty cells of the same layers and scales. @throws EngineError 'memory' when there is not enough */
  emptyWith(cells: number): HostKv {
    const { heads, storage } = this;
    const layers = [...heads].map(
      ([index, of]) => [index, emptyLayer(of, cells, storage, this.layer(index))] as const,
    );
    return new HostKv(heads, cells, storage, new Map(layers));
  }

  layer(index: number): LayerKv {
    const layer = this.layers.get(index);
    if (!layer) throw new EngineError('internal', `layer ${index} is not of this shard`);
    return layer;
  }

  get bytes(): number {
    let bytes = 0;
    for (const heads of this.heads.values())
      bytes += 2 * heads.kvHeads * this.cells * this.#cellBytes(heads);
    return bytes;
  }

  holds(): boolean {
    return true;
  }

  bind(binding: IoBinding, starts: readonly (number | undefined)[]): void {
    starts.forEach((start, place) => {
      if (start === undefined) (this.#nobody ??= this.emptyWith(1)).#bindCells(binding, 0, place);
      else this.#bindCells(binding, start, place);
    });
    if (this.storage === 'int8') this.#bindScales(binding, starts.length === 1);
  }

  [Symbol.dispose](): void {
    // The arrays are the collector's.
  }

  #bindCells(binding: IoBinding, start: number, place: number): void {
    for (const [layer, heads] of this.heads) {
      const shape = [1, heads.kvHeads, this.cells, heads.headSize];
      const offset = start * this.#cellBytes(heads);
      for (const kind of cacheKinds) {
        const { past, present } = cellNames(layer, kind, place);
        binding.shared(past, present, this.layer(layer)[kind].numbers, offset, shape);
      }
    }
  }

  /** @param canChange whether the graph finds other scales where a step calibrates them */
  #bindScales(binding: IoBinding, canChange: boolean): void {
    for (const [layer, cells] of this.layers)
      for (const kind of cacheKinds) {
        const { scales } = cells[kind];
        if (!scales) continue;
        const { past, present } = scaleNames(layer, kind);
        if (canChange) binding.shared(past, present, scales, 0, [scales.length]);
        else binding.input(past, scales, [scales.length]);
      }
  }

  /** Bytes of one head's cell. */
  #cellBytes({ headSize }: KvHeads): number {
    return headSize * storageBytes[this.storage];
  }
}

/** @param scalesOf the layer whose scales it has, too @throws EngineError 'memory' when there is not enough */
function emptyLayer(
  { kvHeads, headSize }: KvHeads,
  cells: number,
  storage: KvStorage,
  scalesOf?: LayerKv,
): LayerKv {
  const length = (kvHeads + 1) * cells * headSize;
  const emptyCells = (scales?: Float32Array): LayerCells =>
    storage === 'f32'
      ? { numbers: fixed.f32(length) }
      : { numbers: fixed.i8(length), scales: scales ?? fixed.f32(kvHeads * headSize) };
  try {
    return {
      keys: emptyCells(scalesOf?.keys.scales),
      values: emptyCells(scalesOf?.values.scales),
    };
  } catch (error) {
    throw outOfKvMemory(error);
  }
}
