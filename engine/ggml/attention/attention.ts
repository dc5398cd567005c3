import type { Attention, GroupedQueryAttention } from '../../../model/architectures/layer.js';
import type { Pointer } from '../bindings.js';

/** How the queries of a layer meet what is kept in cells. */
export interface CellAttention extends Omit<GroupedQueryAttention, 'kind' | 'sinks'> {
  /** Whether values are the first features of keys, so that nothing else is kept. */
  readonly isLatent: boolean;
}

/** @returns undefined where a layer keeps no cells */
export function cellAttention(attention: Attention): CellAttention | undefined {
  switch (attention.kind) {
    case 'gqa': {
      const { heads, kvHeads, keySize, valueSize, scale, window, softcap } = attention;
      return {
        ...{ heads, kvHeads, keySize, valueSize, scale },
        ...(window === undefined ? {} : { window }),
        ...(softcap === undefined ? {} : { softcap }),
        isLatent: false,
      };
    }
    case 'mla': {
      const { heads, latentSize, rotatedSize, scale } = attention;
      const keySize = latentSize + rotatedSize;
      return { heads, kvHeads: 1, keySize, valueSize: latentSize, scale, isLatent: true };
    }
    case 'linear':
      return undefined;
  }
}

/** Keys and values of one layer, as a way of attending keeps them. */
export interface LayerCache {
  readonly keys: Pointer;
  /** Absent where they are a part of the keys. */
  readonly values?: Pointer;
}

/** Cells that a segment's rows look at. */
export interface CellWindow {
  readonly windowStart: number;
  readonly windowLength: number;
}

/** The shape of a segment: rows of one sequence, and the window that they look at. */
export interface SegmentShape extends CellWindow {
  readonly rows: number;
  /** Rows [first, end) are whole tiles of the text. */
  readonly tiles: readonly [first: number, end: number];
}

/** Rows of a segment that are attended together. */
export interface AttentionPiece extends CellWindow {
  /** Among the segment's rows, or among all of the step's where a graph is described. */
  readonly firstRow: number;
  readonly rows: number;
}

/** A piece with its mask. */
export interface MaskedPiece extends AttentionPiece {
  /** f16 [windowLength, rows]: 0 where a row sees a cell, -infinity elsewhere. */
  readonly mask: Pointer;
}

/** Where a graph's ops are described. */
export interface GraphPlace {
  readonly context: Pointer;
  readonly graph: Pointer;
}

/** A way to keep keys and values, and to attend to them. */
export interface AttentionWay {
  /** Windows grow in steps of this many cells. */
  readonly windowStep: number;
  /** Cells that there are memory for: windows may end behind those that are used. */
  readonly cells: number;
  /** Which rows [first, end) of a segment are whole tiles of the text. @param positions of its rows */
  tiles(positions: Int32Array): SegmentShape['tiles'];
  /** In which pieces a segment is attended, in the order of its rows. */
  pieces(attention: CellAttention, segment: SegmentShape): AttentionPiece[];
  /** Describes the tensors of a layer. */
  describe(context: Pointer, attention: CellAttention): LayerCache;
  /**
   * What is kept in some cells, of every tensor of a layer.
   * @returns views of equal shape for equal numbers of cells
   */
  cellsOf(
    context: Pointer,
    attention: CellAttention,
    cache: LayerCache,
    window: CellWindow,
  ): Pointer[];
  /**
   * Writes rows' keys and values to their cells.
   * @param keys [keySize, kvHeads, rows] f32
   * @param values [valueSize, kvHeads, rows] f32; undefined where they are a part of the keys
   * @param cells i64 [rows]
   */
  store(
    place: GraphPlace,
    cache: LayerCache,
    keys: Pointer,
    values: Pointer | undefined,
    cells: Pointer,
  ): void;
  /**
   * @param queries [keySize, heads, rows] f32, contiguous
   * @param sinks f32 [heads], where the layer has them
   * @returns [heads · valueSize, rows] f32
   */
  attend(
    context: Pointer,
    attention: CellAttention,
    cache: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
    sinks?: Pointer,
  ): Pointer;
}

/** Upper bound for the tensors that storing and attending to once take in a graph. */
export const mostAttentionNodes = 36;
