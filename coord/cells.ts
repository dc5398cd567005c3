import { pageCells, pagesFor } from '../step/pages.js';

/** A contiguous range of KV cells. */
export interface CellRange {
  readonly start: number;
  readonly length: number;
}

export const noCells: CellRange = { start: 0, length: 0 };

/** What a text is kept in where places are equal. */
export interface Place {
  readonly cells: CellRange;
  /** For states, in models whose layers keep those. */
  readonly slots: readonly number[];
}

/** Places one behind the other, each with so many cells, and slots for states. */
export function equalPlaces(count: number, cellsEach: number, slotsEach: number): Place[] {
  return Array.from({ length: count }, (_, i) => ({
    cells: { start: i * cellsEach, length: cellsEach },
    slots: Array.from({ length: slotsEach }, (_, slot) => i * slotsEach + slot),
  }));
}

/** Length of the window that covers the first `used` cells of a range: in pages, so that stages can reuse graphs. */
export function windowLength(range: CellRange, used: number): number {
  return Math.min(pagesFor(used) * pageCells, range.length);
}
