/** Cells of a page: cells are given to texts, moved, kept in files and forgotten in whole pages. */
export const pageCells = 256;

/** A page, and the text that is in it. */
export interface KeyedPage {
  /** Of the text up to the end of the page: 64 hex digits. */
  readonly key: string;
  readonly page: number;
}

/** Pages whose keys and values go to other pages, in every layer. The two ranges do not overlap. */
export interface PageCopy {
  /** The first page that is copied. */
  readonly from: number;
  /** Where it goes. */
  readonly to: number;
  /** Pages that are copied, 1 or more. */
  readonly count: number;
}

/** Pages that so many cells begin. */
export function pagesFor(cells: number): number {
  return Math.ceil(cells / pageCells);
}
