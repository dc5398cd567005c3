/** Attention windows grow in steps of this many cells, so that stages can reuse graphs. */
const windowStep = 256;

/** A contiguous range of KV cells. */
export interface CellRange {
  readonly start: number;
  readonly length: number;
}

export const noCells: CellRange = { start: 0, length: 0 };

/** Length of the window that covers the first `used` cells of a range. */
export function windowLength(range: CellRange, used: number): number {
  return Math.min(Math.ceil(used / windowStep) * windowStep, range.length);
}
