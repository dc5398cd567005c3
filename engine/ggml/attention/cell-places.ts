import { keptCells } from '../../../model/architectures/layer.js';
import type { Visible } from '../../../step/step.js';
import type { StageOptions } from '../../engine.js';
import type { CellWindow } from './attention.js';

/** What of a stage's options says how many cells there are. */
export type CellOptions = Pick<StageOptions, 'cells' | 'conversations' | 'maxStepRows'>;

/**
 * Where layers keep cells. Without a window every cell has a place of its own; with one, the cells of a conversation
 * share a ring of places, in which those that no row sees any more give way.
 */
export class CellPlaces {
  /**
   * @param window cells that a row sees, the last ones
   * @param rings how many there are
   * @param cells that share a ring
   * @param kept places of a ring; as many as cells where there is none
   */
  private constructor(
    readonly window: number,
    private readonly rings: number,
    private readonly cells: number,
    private readonly kept: number,
  ) {}

  static for(window: number | undefined, options: CellOptions): CellPlaces {
    const { cells, conversations = 1, maxStepRows } = options;
    const each = Math.floor(cells / conversations);
    const kept = keptCells(window, each, maxStepRows);
    return kept === each
      ? new CellPlaces(window ?? Infinity, 1, cells, cells)
      : new CellPlaces(window ?? Infinity, conversations, each, kept);
  }

  /** Places in all. */
  get count(): number {
    return this.rings * this.kept;
  }

  /** Whether cells of a conversation share places. */
  get isRing(): boolean {
    return this.kept < this.cells;
  }

  /** The place of a cell. */
  of(cell: number): number {
    return this.#ringOf(cell) + ((cell % this.cells) % this.kept);
  }

  /** The places of cells [from, end): several runs where they go on at the beginning of a ring. */
  *runs(from: number, end: number): Generator<readonly [first: number, end: number], void> {
    const ring = this.#ringOf(from);
    for (let cell = from; cell < end;) {
      const first = this.of(cell);
      const count = Math.min(end - cell, ring + this.kept - first);
      yield [first, first + count];
      cell += Math.max(1, count);
    }
  }

  /**
   * The places that a segment's rows look at.
   * @param step its length is a multiple of it
   * @param places that there is memory for
   */
  windowOf(visible: Visible, step: number, places: number): CellWindow {
    const from = this.#seenFrom(visible);
    const end = seenEnd(visible);
    const { isRing } = this;
    const origin = isRing ? this.#ringOf(from) : visible.windowStart;
    const [first, last] = [this.of(from), this.of(end - 1)];
    const isWhole = isRing && (last < first || end - from > this.kept);
    const windowStart = isWhole ? origin : origin + Math.floor((first - origin) / step) * step;
    const windowEnd = isWhole ? origin + this.kept : last + 1;
    const whole = Math.ceil((windowEnd - windowStart) / step) * step;
    return { windowStart, windowLength: Math.min(whole, places - windowStart) };
  }

  /** The first place of a cell's ring. */
  #ringOf(cell: number): number {
    return Math.min(this.rings - 1, Math.floor(cell / this.cells)) * this.kept;
  }

  /** The first cell that a row sees. */
  #seenFrom({ counts, ranges, windowStart }: Visible): number {
    if (this.window === Infinity) return windowStart;
    let first = Infinity;
    let end = 0;
    for (const count of counts) {
      const begin = end;
      end += 2 * count;
      for (const [from] of lastCells(ranges, begin, end, this.window))
        first = Math.min(first, from);
    }
    return Number.isFinite(first) ? first : windowStart;
  }
}

/** The last `most` of the cells in a row's ranges [begin, end) of a list, as ranges. */
export function* lastCells(
  ranges: Int32Array,
  begin: number,
  end: number,
  most: number,
): Generator<readonly [from: number, end: number], void> {
  for (let at = end - 2, left = most; at >= begin && left > 0; at -= 2) {
    const to = ranges[at + 1]!;
    const from = Math.max(ranges[at]!, to - left);
    yield [from, to];
    left -= to - from;
  }
}

/** Where the last cell ends that a segment sees: the window that it names may be longer. */
function seenEnd({ ranges, windowStart }: Visible): number {
  let end = windowStart + 1;
  for (let i = 1; i < ranges.length; i += 2) end = Math.max(end, ranges[i]!);
  return end;
}
