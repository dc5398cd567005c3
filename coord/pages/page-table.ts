import type { PageCopy } from '../../step/pages.js';
import { leastMissed, loseWindow } from './eviction.js';
import { endOf, pagesOf, type Extent } from './extent.js';
import { spread } from './spread.js';

/**
 * Which pages belong to which text; the same on every stage. A text's pages are in a row, so that attention looks at one
 * range of cells. Texts grow into the page behind them; where that is taken they move, at the speed of memory. They begin
 * where there is most room, so that this is rare. Texts that are idle lose pages from their ends when others need them.
 */
export class PageTable {
  /** Those with pages, ascending. */
  #extents: Extent[] = [];

  constructor(readonly pages: number) {}

  /** Pages that some text has. */
  get taken(): number {
    return pagesOf(this.#extents);
  }

  /**
   * Gives a text that is in use more pages or fewer.
   * @returns what has to be copied, one after the other, before anything is computed in the new place; undefined, and
   * nothing is changed, when texts that are in use leave too few pages
   */
  resize(extent: Extent, pages: number): readonly PageCopy[] | undefined {
    if (pages <= extent.pages || this.#isFreeBehind(extent, pages)) {
      extent.pages = pages;
      this.settle();
      return [];
    }
    const moved = this.#moveToGap(extent, pages) ?? this.#replaceIdle(extent, pages);
    if (moved) return moved;
    const copies = spread(this.#with(extent), this.pages, extent, pages);
    if (copies) this.#add(extent);
    return copies;
  }

  /** A text has no pages any more. */
  release(extent: Extent): void {
    extent.pages = 0;
    this.settle();
  }

  /** Somebody else has changed extents: of texts that are idle, which have fewer pages. */
  settle(): void {
    this.#extents = this.#extents
      .filter(({ pages }) => pages > 0)
      .sort((a, b) => a.start - b.start);
  }

  #isFreeBehind(extent: Extent, pages: number): boolean {
    if (extent.pages === 0) return false;
    const next = this.#extents[this.#extents.indexOf(extent) + 1];
    return extent.start + pages <= (next?.start ?? this.pages);
  }

  #moveToGap(extent: Extent, pages: number): readonly PageCopy[] | undefined {
    const [gap, length] = this.#roomiestGap();
    if (length < pages) return undefined;
    return this.#move(extent, gap + this.#distance(gap, length - pages), pages);
  }

  #replaceIdle(extent: Extent, pages: number): readonly PageCopy[] | undefined {
    const find = (room: number) => leastMissed(this.#extents, this.pages, extent, { pages, room });
    // Whoever moves will go on growing.
    const window = find(pages + (pages >> 2)) ?? find(pages);
    if (!window) return undefined;
    loseWindow(this.#extents, window);
    const growsInPlace = extent.pages > 0 && window.start === endOf(extent);
    return this.#move(extent, growsInPlace ? extent.start : window.start, pages);
  }

  /** Texts in use grow: the one before a gap gets half of what is left of it. */
  #distance(gap: number, left: number): number {
    const before = this.#extents.findLast(({ start }) => start < gap);
    return before && before.idleSince === undefined ? Math.floor(left / 2) : 0;
  }

  #move(extent: Extent, to: number, pages: number): PageCopy[] {
    const { start: from, pages: count } = extent;
    Object.assign(extent, { start: to, pages });
    this.#add(extent);
    return count === 0 || from === to ? [] : [{ from, to, count }];
  }

  /** @returns first page and length */
  #roomiestGap(): [start: number, pages: number] {
    let best: [number, number] = [0, 0];
    let start = 0;
    for (const next of [...this.#extents, { start: this.pages, pages: 0 }]) {
      if (next.start - start > best[1]) best = [start, next.start - start];
      start = next.start + next.pages;
    }
    return best;
  }

  #with(extent: Extent): Extent[] {
    return this.#extents.includes(extent) ? this.#extents : [...this.#extents, extent];
  }

  #add(extent: Extent): void {
    this.#extents = this.#with(extent);
    this.settle();
  }
}
