/**
 * Says how a segment's rows are cut into parts that attend one after the other.
 * @param first the segment's first row, counted from the beginning of its window
 * @returns rows of every part; undefined where they attend all at once
 */
export type CutRows = (first: number, rows: number) => readonly number[] | undefined;

/** Positions of a block; a power of two, so that blocks are whole tiles of queries or parts of one. */
const blockRows = 64;

/**
 * Cuts rows into those before, in and behind blocks. A block is positions that follow each other from a multiple of their
 * number on. Its rows attend to cells of 8 bits by kernels that are fast for many rows, and round otherwise than those
 * for a few. Which rows do so depends on where a segment begins and ends: texts that are cut at multiples of a block get
 * the same bits however long the pieces are, and steps with fewer rows than a block have none.
 */
export const cutAroundBlocks: CutRows = (first, rows) => {
  const before = (blockRows - (first % blockRows)) % blockRows;
  const blocks = Math.floor((rows - before) / blockRows);
  if (blocks < 1) return undefined;
  const inBlocks = blocks * blockRows;
  return [before, inBlocks, rows - before - inBlocks];
};

/** Cuts rows so that none is alone in its tile of queries. @param tile rows of one */
export function cutLoneRows(tile: number): CutRows {
  return (_, rows) => (rows > 1 && rows % tile === 1 ? [rows - 2, 2] : undefined);
}
