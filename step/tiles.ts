/** Kernels are chosen so that steps of at most this many rows give every row the bits that it gets alone. */
export const fewRows = 16;

/**
 * Positions of a tile of a text. Kernels that are fast for many rows may round differently from those for few: they get
 * the whole tiles of a text and nothing else, so that texts that are cut at tiles get the same bits however long the pieces
 * are.
 */
export const tileRows = 64;

/**
 * Which rows [first, end) of some that stand at positions in a row are whole tiles.
 * @param position of the first row
 * @returns [0, 0] where there is no whole tile
 */
export function wholeTiles(position: number, rows: number): [first: number, end: number] {
  const before = (tileRows - (position % tileRows)) % tileRows;
  const tiles = Math.floor((rows - before) / tileRows);
  return tiles > 0 ? [before, before + tiles * tileRows] : [0, 0];
}
