import { endOf, type Extent } from './extent.js';

/** What copying a page costs, of what computing it does. */
const copyShare = 1 / 64;

/** Pages in a row. */
export interface PageWindow {
  readonly start: number;
  readonly end: number;
}

/**
 * The pages that a text should get that needs more than are free in a row: those of idle texts that are missed least.
 * Where texts lose a page, what is behind it is of no use either. A page's worth is the chance that it is needed: that
 * of one that n texts were used after is taken to be 1 / n.
 * @param extents of all texts that have pages, ascending
 * @param total pages there are
 * @param room pages in a row, if it moves
 * @returns what is behind the text, which then grows in place, or a window elsewhere; undefined when texts in use are everywhere
 * in the way
 */
export function leastMissed(
  extents: readonly Extent[],
  total: number,
  grown: Extent,
  { pages, room }: { readonly pages: number; readonly room: number },
): PageWindow | undefined {
  const now = 1 + Math.max(0, ...extents.map(({ idleSince = 0 }) => idleSince));
  let best: PageWindow | undefined;
  let least = Infinity;
  const consider = (start: number, end: number, copied: number) => {
    if (start < 0 || end > total) return;
    const loss = lossOf(extents, { start, end }, now) + copyShare * copied;
    if (loss < least) [best, least] = [{ start, end }, loss];
  };
  if (grown.pages > 0) consider(endOf(grown), grown.start + pages, 0);
  // No window is missed less than all that touch the end of a text.
  for (const border of [0, total, ...extents.flatMap((extent) => [extent.start, endOf(extent)])]) {
    consider(border, border + room, grown.pages);
    consider(border - room, border, grown.pages);
  }
  return best;
}

/** Texts that have pages of a window lose them, and all behind. */
export function loseWindow(extents: readonly Extent[], window: PageWindow): void {
  for (const extent of overlapping(extents, window))
    extent.pages = Math.max(0, window.start - extent.start);
}

function lossOf(extents: readonly Extent[], window: PageWindow, now: number): number {
  let loss = 0;
  for (const extent of overlapping(extents, window)) {
    if (extent.idleSince === undefined) return Infinity;
    loss += (endOf(extent) - Math.max(window.start, extent.start)) / (now - extent.idleSince);
  }
  return loss;
}

function overlapping(extents: readonly Extent[], { start, end }: PageWindow): Extent[] {
  const found: Extent[] = [];
  for (let i = firstBehind(extents, start); i < extents.length; i++) {
    const extent = extents[i] as Extent;
    if (extent.start >= end) break;
    found.push(extent);
  }
  return found;
}

/** Index of the first extent that ends behind a page's beginning. */
function firstBehind(extents: readonly Extent[], page: number): number {
  let [low, high] = [0, extents.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (endOf(extents[middle] as Extent) > page) high = middle;
    else low = middle + 1;
  }
  return low;
}
