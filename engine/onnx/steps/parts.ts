import { wholeTiles } from '../../../step/tiles.js';

/**
 * Says how a segment's rows are cut into parts that attend one after the other.
 * @param first the segment's first row, counted from the beginning of its window
 * @returns rows of every part; undefined where they attend all at once
 */
export type CutRows = (first: number, rows: number) => readonly number[] | undefined;

/**
 * Cuts rows into those before, in and behind blocks: whole tiles of the text, which attend to cells of 8 bits by kernels
 * that are fast for many rows. Their number is a power of two, so that blocks are whole tiles of queries or parts of one.
 */
export const cutAroundBlocks: CutRows = (first, rows) => {
  const [begin, end] = wholeTiles(first, rows);
  return end === 0 ? undefined : [begin, end - begin, rows - end];
};

/** Cuts rows so that none is alone in its tile of queries. @param tile rows of one */
export function cutLoneRows(tile: number): CutRows {
  return (_, rows) => (rows > 1 && rows % tile === 1 ? [rows - 2, 2] : undefined);
}
