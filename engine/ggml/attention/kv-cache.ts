import { isDeepStrictEqual, promisify } from 'node:util';
import type { Layer } from '../../../model/architectures/layer.js';
import { EngineError, type StageOptions } from '../../engine.js';
import type { Ggml, Pointer } from '../bindings.js';
import { TensorArena } from '../tensor-arena.js';
import {
  cellAttention,
  type AttentionWay,
  type CellAttention,
  type CellWindow,
  type LayerCache,
} from './attention.js';
import { CellPlaces, type CellOptions } from './cell-places.js';

/** Bytes that are cleared at a time, so that loading can be given up. */
const pieceBytes = 256 << 20;

/** Layers that attend alike. */
export interface AttentionGroup {
  readonly attention: CellAttention;
  readonly way: AttentionWay;
  readonly places: CellPlaces;
}

/** The cells of one layer. */
export interface LayerCells {
  readonly group: AttentionGroup;
  readonly cache: LayerCache;
}

/** The KV cache of a stage's layers. A cell has the same index on every stage. */
export class KvCache implements Disposable {
  /** In the order of their first layers. */
  readonly groups: readonly AttentionGroup[];
  readonly #arena: TensorArena;
  /** Undefined where a layer keeps no cells. */
  readonly #layers: readonly (LayerCells | undefined)[];

  private constructor(
    private readonly ggml: Ggml,
    bufferType: Pointer,
    layers: readonly (AttentionGroup | undefined)[],
    private readonly firstLayer: number,
  ) {
    this.#arena = new TensorArena(ggml, bufferType, layers.length * 2);
    this.groups = [...new Set(layers.filter((group) => group !== undefined))];
    this.#layers = layers.map(
      (group) =>
        group && { group, cache: group.way.describe(this.#arena.context, group.attention) },
    );
  }

  /**
   * Describes and allocates what nothing is in yet, not even zeros.
   * @param layers of the stage
   * @param choose how layers attend that attend alike, to so many cells
   * @throws EngineError 'memory'
   */
  static async allocate(
    ggml: Ggml,
    bufferType: Pointer,
    layers: readonly Layer[],
    choose: (attention: CellAttention, cells: number) => Promise<AttentionWay>,
    options: CellOptions & Pick<StageOptions, 'shard'>,
  ): Promise<KvCache> {
    const { shard } = options;
    const grouped = await groupLayers(layers, choose, options);
    const cache = new KvCache(ggml, bufferType, grouped, shard.firstLayer);
    try {
      if (cache.groups.length > 0) cache.#arena.allocate('KV cache');
      return cache;
    } catch (error) {
      cache[Symbol.dispose]();
      throw error;
    }
  }

  get bytes(): number {
    return this.#arena.bytes;
  }

  layer(index: number): LayerCells {
    const layer = this.#layers[index - this.firstLayer];
    if (!layer) throw new EngineError('internal', `layer ${index} keeps no cells here`);
    return layer;
  }

  /** Whether a cell is in the same place in all layers, so that its keys and values can be moved. */
  get movesCells(): boolean {
    return this.groups.every(({ places }) => !places.isRing);
  }

  /** Cells that there is memory for, where it moves them. */
  get cells(): number {
    return Math.min(...this.groups.map(({ way }) => way.cells));
  }

  /** Tensors of all layers. */
  get tensors(): number {
    return this.#layers.reduce(
      (sum, layer) => sum + (layer ? Object.keys(layer.cache).length : 0),
      0,
    );
  }

  /** What is kept in some cells: a view of every tensor, in the order of layers. */
  cellsOf(context: Pointer, window: CellWindow): Pointer[] {
    return this.#layers.flatMap((layer) =>
      layer ? layer.group.way.cellsOf(context, layer.group.attention, layer.cache, window) : [],
    );
  }

  /** Attention multiplies masked cells by zero, so what never was written must be finite. @throws the signal's reason */
  async clear(signal: AbortSignal | undefined): Promise<void> {
    const fill = promisify(this.ggml.tensorFill.async);
    for (const layer of this.#layers)
      for (const tensor of [layer?.cache.keys, layer?.cache.values]) {
        if (tensor === undefined) continue;
        const bytes = this.ggml.tensorBytes(tensor);
        for (let offset = 0; offset < bytes; offset += pieceBytes) {
          signal?.throwIfAborted();
          await fill(tensor, 0, offset, Math.min(pieceBytes, bytes - offset));
        }
      }
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

async function groupLayers(
  layers: readonly Layer[],
  choose: (attention: CellAttention, cells: number) => Promise<AttentionWay>,
  options: CellOptions,
): Promise<(AttentionGroup | undefined)[]> {
  const groups: AttentionGroup[] = [];
  const grouped: (AttentionGroup | undefined)[] = [];
  for (const layer of layers) {
    const attention = cellAttention(layer.attention);
    let group = groups.find((known) => isDeepStrictEqual(known.attention, attention));
    if (!group && attention) {
      const places = CellPlaces.for(attention.window, options);
      groups.push((group = { attention, places, way: await choose(attention, places.count) }));
    }
    grouped.push(group);
  }
  return grouped;
}
