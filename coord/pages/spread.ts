import type { PageCopy } from '../../step/pages.js';
import { pagesOf, type Extent } from './extent.js';

/**
 * Makes room when the free pages are enough but nowhere in a row: idle texts lose what is missing, and all others move, as
 * far from each other as they can, in the order that they are in.
 * @param extents of all texts, with the one that is to have more pages, ascending but for that one if it is new
 * @param total pages there are
 * @returns what to copy, one after the other; undefined, and nothing is changed, when texts in use need more than there is
 */
export function spread(
  extents: readonly Extent[],
  total: number,
  grown: Extent,
  pages: number,
): readonly PageCopy[] | undefined {
  const inUse = extents.filter(({ idleSince }) => idleSince === undefined);
  const missing = pages - grown.pages - total;
  if (pagesOf(inUse) + missing > 0) return undefined;
  evict(extents, pagesOf(extents) + missing);
  const before = extents.map((extent) => ({ ...extent }));
  grown.pages = pages;
  place(extents, Math.floor((total - pagesOf(extents)) / inUse.length));
  const moves = before.map(({ start, pages: count }, i) => ({
    from: start,
    to: (extents[i] as Extent).start,
    count,
  }));
  // Nobody is in the way of the first that goes left, nor of the last that goes right.
  return [
    ...moves.filter(({ from, to }) => to < from),
    ...moves.filter(({ from, to }) => to > from).reverse(),
  ].flatMap(inPieces);
}

function evict(extents: readonly Extent[], pages: number): void {
  const idle = extents
    .filter(({ idleSince }) => idleSince !== undefined)
    .sort((a, b) => (a.idleSince as number) - (b.idleSince as number));
  let left = pages;
  for (const extent of idle) {
    if (left <= 0) return;
    const lost = Math.min(left, extent.pages);
    extent.pages -= lost;
    left -= lost;
  }
}

/** @param distance free pages behind every text that grows */
function place(extents: readonly Extent[], distance: number): void {
  let start = 0;
  for (const extent of extents) {
    extent.start = start;
    start += extent.pages + (extent.idleSince === undefined ? distance : 0);
  }
}

/** Pages that move by less than there are of them go in pieces, so that none is copied to itself. */
function inPieces({ from, to, count }: PageCopy): PageCopy[] {
  const most = Math.abs(to - from);
  const pieces: PageCopy[] = [];
  for (let at = 0; at < count; at += most)
    pieces.push({ from: from + at, to: to + at, count: Math.min(most, count - at) });
  return to < from ? pieces : pieces.reverse();
}
