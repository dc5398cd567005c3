import { isDeepStrictEqual } from 'node:util';
import type { GroupedQueryAttention, Layer } from '../../../model/architectures/layer.js';
import { EngineError } from '../../engine.js';
import type { Pointer } from '../bindings.js';

/** Keys and values of one layer, as a way of attending keeps them. */
export interface LayerCache {
  readonly keys: Pointer;
  readonly values: Pointer;
}

/** The shape of a segment: rows of one sequence, and the window that they look at. */
export interface SegmentShape {
  readonly rows: number;
  /** Rows [first, end) are whole tiles of the text. */
  readonly tiles: readonly [first: number, end: number];
  readonly windowStart: number;
  readonly windowLength: number;
}

/** Rows of a segment that are attended together. */
export interface AttentionPiece extends Pick<SegmentShape, 'windowStart' | 'windowLength'> {
  /** Among the segment's rows, or among all of the step's where a graph is described. */
  readonly firstRow: number;
  readonly rows: number;
  /** How often every row of the mask is there, one after the other. */
  readonly maskCopies: number;
}

/** A piece with its mask. */
export interface MaskedPiece extends AttentionPiece {
  /** f16 [windowLength, rows · maskCopies]: 0 where a row sees a cell, -infinity elsewhere. */
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
  pieces(attention: GroupedQueryAttention, segment: SegmentShape): AttentionPiece[];
  /** Describes the tensors of a layer. */
  describe(context: Pointer, attention: GroupedQueryAttention): LayerCache;
  /**
   * Writes rows' keys and values to their cells.
   * @param keys [keySize, kvHeads, rows] f32
   * @param values [valueSize, kvHeads, rows] f32
   * @param cells i64 [rows]
   */
  store(place: GraphPlace, cache: LayerCache, keys: Pointer, values: Pointer, cells: Pointer): void;
  /**
   * @param queries [keySize, heads, rows] f32, contiguous
   * @returns [heads · valueSize, rows] f32
   */
  attend(
    context: Pointer,
    attention: GroupedQueryAttention,
    cache: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
  ): Pointer;
}

/** Upper bound for the tensors that storing and attending to once take in a graph. */
export const mostAttentionNodes = 20;

/** The attention of all layers. @throws EngineError 'unsupported' when it is of another kind, or not the same */
export function attentionOf(layers: readonly Layer[]): GroupedQueryAttention {
  const [first] = layers;
  const isSame = ({ attention }: Layer) => isDeepStrictEqual(attention, first?.attention);
  if (first?.attention.kind === 'gqa' && layers.every(isSame)) return first.attention;
  throw new EngineError('unsupported', 'ggml keeps keys and values only: use another model');
}
