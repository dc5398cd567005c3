/** Pages in a row that one text has. */
export interface Extent {
  start: number;
  /** 0 while it has none. */
  pages: number;
  /** When its text was used last: of texts that nobody computes, those with the smallest go first. Undefined while it is in use. */
  idleSince: number | undefined;
}

/** The page behind an extent. */
export function endOf({ start, pages }: Extent): number {
  return start + pages;
}

/** Pages of some extents. */
export function pagesOf(extents: readonly Extent[]): number {
  return extents.reduce((sum, { pages }) => sum + pages, 0);
}
