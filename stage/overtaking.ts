import { pageCells } from '../step/pages.js';
import { rowsOfStep, type Segment, type Step } from '../step/step.js';
import { fewRows } from '../step/tiles.js';

/** Whether a step is computed at once, also while a long one is under way. */
export function isShort(step: Pick<Step, 'segments'>): boolean {
  return rowsOfStep(step) <= fewRows;
}

/**
 * Which of the steps that wait may be computed while a long one is under way: a short one that has nothing in common with
 * any that came before it.
 * @param waiting in the order of their arrival
 * @returns its index, or -1
 */
export function overtakingStep(underWay: Step, waiting: readonly Step[]): number {
  return waiting.findIndex(
    (step, index) =>
      isShort(step) &&
      step.segments.length > 0 &&
      !step.inOrder &&
      isApartFrom(step, underWay) &&
      waiting.slice(0, index).every((earlier) => isApartFrom(step, earlier)),
  );
}

/**
 * Whether a step may be computed before an earlier one. That they are of other sequences is not enough: what a step that
 * nobody wants any more was to write to may be another sequence's by now.
 */
function isApartFrom({ segments }: Step, { segments: others, copies, keeps }: Step): boolean {
  return segments.every(
    (one) =>
      others.every((other) => !areBound(one, other)) &&
      !copies?.some(
        ({ from, to, count }) =>
          writes(one, pagesFrom(from, count)) || overlap(windowOf(one), pagesFrom(to, count)),
      ) &&
      !keeps?.some(({ page }) => writes(one, pagesFrom(page, 1))),
  );
}

function areBound(one: Segment, other: Segment): boolean {
  return one.sequence === other.sequence || changes(one, other) || changes(other, one);
}

/** Cells [first, end). */
type Cells = readonly [first: number, end: number];

/** Whether a segment writes what another one reads or writes. */
function changes(one: Segment, other: Segment): boolean {
  if (writes(one, windowOf(other))) return true;
  if (!one.state || !other.state) return false;
  const { write } = one.state;
  return write === other.state.read || write === other.state.write;
}

function writes({ cells }: Segment, [first, end]: Cells): boolean {
  return cells.some((cell) => cell >= first && cell < end);
}

function windowOf({ visible: { windowStart, windowLength } }: Segment): Cells {
  return [windowStart, windowStart + windowLength];
}

function pagesFrom(page: number, count: number): Cells {
  return [page * pageCells, (page + count) * pageCells];
}

function overlap([first, end]: Cells, [otherFirst, otherEnd]: Cells): boolean {
  return first < otherEnd && otherFirst < end;
}
