import type { Ggml, Pointer } from '../bindings.js';
import type { GraphPlace, LayerCache, MaskedPiece } from './attention.js';
import type { AttentionGroup } from './kv-cache.js';

const f32Bytes = Float32Array.BYTES_PER_ELEMENT;

/** What layers that attend alike refer to. */
export interface GroupInputs {
  /** Of all segments. */
  readonly pieces: readonly MaskedPiece[];
  /** Where rows are kept: i64 [rows] */
  readonly places: Pointer;
}

/** Rows of all segments, contiguous f32. */
export interface AttendingRows {
  /** [keySize, heads, count] */
  readonly queries: Pointer;
  /** [keySize, kvHeads, count] */
  readonly keys: Pointer;
  /** [valueSize, kvHeads, count]; undefined where they are a part of the keys. */
  readonly values: Pointer | undefined;
  readonly count: number;
}

/**
 * Keeps what rows have of a layer, and attends to what is kept, piece by piece.
 * @param sinks f32 [heads], where the layer has them
 * @returns f32 [heads · valueSize, count]
 */
export function attendPieces(
  ggml: Ggml,
  place: GraphPlace,
  { attention, way }: AttentionGroup,
  cache: LayerCache,
  { pieces, places }: GroupInputs,
  { queries, keys, values, count }: AttendingRows,
  sinks: Pointer | undefined,
): Pointer {
  const { context } = place;
  way.store(place, cache, keys, values, places);
  const attend = (rows: Pointer, piece: MaskedPiece) =>
    way.attend(context, attention, cache, rows, piece, sinks);
  const [first, ...others] = pieces;
  if (first && others.length === 0) return attend(queries, first);
  const { heads, keySize, valueSize } = attention;
  const headBytes = keySize * f32Bytes;
  const rowBytes = heads * headBytes;
  const attended = (piece: MaskedPiece) => {
    const offset = piece.firstRow * rowBytes;
    const view = [keySize, heads, piece.rows, headBytes, rowBytes, offset] as const;
    return attend(ggml.view3d(context, queries, ...view), piece);
  };
  if (keySize !== valueSize)
    return pieces.map(attended).reduce((a, b) => ggml.concat(context, a, b, 1));
  // What a piece's rows make of the cells takes the place of their queries, which nothing else needs.
  return pieces.reduce(
    (all, piece) =>
      ggml.setInPlace(context, all, attended(piece), rowBytes, piece.firstRow * rowBytes),
    ggml.reshape2d(context, queries, heads * keySize, count),
  );
}
