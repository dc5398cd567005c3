import { pageCells, type PageCopy } from '../step/pages.js';
import {
  mostLogprobs,
  noState,
  rowsOfStep,
  wantLogprobs,
  type Segment,
  type Step,
  type Visible,
} from '../step/step.js';
import { EngineError, type StageOptions } from './engine.js';

/** More take too long for one step. */
const mostCopies = 1024;

/** What a step may refer to on a stage. */
export interface StepLimits {
  /** Token ids are below this. */
  readonly vocabulary: number;
  readonly cells: number;
  /** Whether its cells can be copied. */
  readonly movesPages: boolean;
  /** Slots for states; 0 where no layer keeps one. */
  readonly states: number;
  readonly maxStepRows: number;
}

/** Limits of a loaded shard. @param vocabulary of the whole model */
export function stepLimits(
  { shard, cells, maxStepRows }: Pick<StageOptions, 'shard' | 'cells' | 'maxStepRows'>,
  vocabulary: number,
  { movesPages, states = 0 }: Pick<StepLimits, 'movesPages'> & Partial<StepLimits>,
): StepLimits {
  // A shard without either end has no table that token ids could miss.
  const isBounded = shard.embedding || shard.head;
  return { vocabulary: isBounded ? vocabulary : Infinity, cells, movesPages, states, maxStepRows };
}

/**
 * Checks a step before native code trusts it: steps come over the network.
 * @throws EngineError 'step' that says what is wrong
 */
export function checkStep(step: Step, limits: StepLimits): void {
  const { segments, calibratesKv, copies = [] } = step;
  const rows = rowsOfStep(step);
  demand((segments.length === 0) === copies.length > 0, 'either segments, or copies');
  demand(copies.length <= mostCopies, `${copies.length} copies, at most ${mostCopies}`);
  demand(rows <= limits.maxStepRows, `${rows} rows, at most ${limits.maxStepRows}`);
  demand(!calibratesKv || segments.length === 1, 'more than one segment to calibrate with');
  for (const segment of segments) checkSegment(segment, limits);
  const sequences = new Set(segments.map(({ sequence }) => sequence));
  demand(sequences.size === segments.length, 'two segments of one sequence');
  if (limits.states > 0) checkStates(segments, limits.states);
  for (const copy of copies) checkCopy(copy, limits);
}

function checkCopy({ from, to, count }: PageCopy, { cells, movesPages }: StepLimits): void {
  demand(movesPages, 'pages that cannot be copied');
  const isThere = (page: number) => isPage(page, cells) && isPage(page + count - 1, cells);
  demand(count > 0 && isThere(from) && isThere(to), 'pages to copy');
  demand(Math.abs(from - to) >= count, 'pages that are copied to themselves');
}

function isPage(page: number, cells: number): boolean {
  return Number.isInteger(page) && page >= 0 && (page + 1) * pageCells <= cells;
}

/** @throws EngineError 'step' when the stage has no such page, or none that could be moved */
export function checkPage(page: number, { cells, movesPages }: StepLimits): void {
  demand(movesPages && isPage(page, cells), `page ${page}`);
}

/** @throws EngineError 'step' when it is not as long as a page */
export function checkPageContent({ length }: Uint8Array, bytes: number): void {
  demand(length === bytes, `${length} bytes for a page of ${bytes}`);
}

/** A state goes on from token to token, and nobody changes it for somebody else. */
function checkStates(segments: readonly Segment[], slots: number): void {
  const written = new Map<number, Segment>();
  for (const segment of segments) {
    const { state, positions } = segment;
    if (!state) return demand(false, 'a segment without a state');
    const { read, write } = state;
    demand(isSlot(write, slots) && (read === noState || isSlot(read, slots)), 'states');
    demand((read === noState) === (positions[0] === 0), 'a state before the first token');
    demand(
      positions.every((position, row) => position === positions[0]! + row),
      'a state of tokens that do not follow each other',
    );
    demand(!written.has(write), 'two segments that write one state');
    written.set(write, segment);
  }
  for (const segment of segments)
    demand(
      (written.get(segment.state?.read ?? noState) ?? segment) === segment,
      'a state that another segment writes',
    );
}

function isSlot(slot: number, slots: number): boolean {
  return Number.isInteger(slot) && slot >= 0 && slot < slots;
}

function checkSegment(segment: Segment, limits: StepLimits): void {
  const { tokens, positions, cells, visible, want, sampling } = segment;
  const { windowStart, windowLength } = visible;
  const windowEnd = windowStart + windowLength;
  const n = tokens.length;
  demand(n > 0, 'a segment without tokens');
  demand(
    [positions, cells, visible.counts, want].every(({ length }) => length === n),
    'lengths',
  );
  demand(areWithin(tokens, 0, limits.vocabulary), `token ids beyond ${limits.vocabulary}`);
  demand(areWithin(positions, 0, 2 ** 31 - 1), 'positions');
  demand(windowStart >= 0 && windowLength > 0 && windowEnd <= limits.cells, 'window');
  demand(areWithin(cells, windowStart, windowEnd), 'cells outside the window');
  demand(areWithin(want, 0, wantLogprobs(mostLogprobs) + 1), 'what is wanted');
  demand(Object.values(sampling).every(Number.isFinite), 'sampling');
  checkVisible(visible);
}

function checkVisible({ windowStart, windowLength, counts, ranges }: Visible): void {
  demand(areWithin(counts, 0, windowLength + 1), 'visible counts');
  let pairs = 0;
  for (let row = 0; row < counts.length; row++) pairs += counts[row]!;
  demand(ranges.length === 2 * pairs, 'ranges');
  for (let i = 0; i < ranges.length; i += 2) {
    const from = ranges[i]!;
    const to = ranges[i + 1]!;
    demand(from >= windowStart && from < to && to <= windowStart + windowLength, 'visible ranges');
  }
}

function areWithin(values: Int32Array | Uint8Array, from: number, end: number): boolean {
  for (let i = 0; i < values.length; i++) if (values[i]! < from || values[i]! >= end) return false;
  return true;
}

function demand(condition: boolean, what: string): void {
  if (!condition) throw new EngineError('step', `the step makes no sense on this stage: ${what}`);
}

/**
 * The part of a buffer that holds a step's rows of hidden states: [rows, hiddenSize] f32.
 * @throws EngineError 'step' when it is too small
 */
export function hiddenOf(buffer: Float32Array, step: Step, hiddenSize: number): Float32Array {
  const values = rowsOfStep(step) * hiddenSize;
  if (buffer.length < values)
    throw new EngineError('step', `${buffer.length} hidden values for a step that needs ${values}`);
  return buffer.subarray(0, values);
}
