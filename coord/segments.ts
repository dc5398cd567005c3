import { penaltyReach } from '../engine/sampling/recent-tokens.js';
import type { Sampling } from '../step/sampling.js';
import { wantChoice, wantNothing, type Segment, type StateSlots } from '../step/step.js';
import { windowLength, type CellRange } from './cells.js';

/** What a segment of plain text is made of. */
export interface CausalText {
  /** Id of the sequence. */
  readonly sequence: number;
  /** [≥ first + count] the whole text. */
  readonly text: Int32Array;
  /** The segment is tokens [first, first + count). */
  readonly first: number;
  readonly count: number;
  /** The sequence's cells. */
  readonly cells: CellRange;
  /** Rows whose next token is wanted: all, the last one or so many last ones, or none. */
  readonly choices: 'all' | 'last' | 'none' | number;
  readonly sampling: Sampling;
  /** For models whose layers keep one. */
  readonly state?: StateSlots | undefined;
  /** The step whose last choice the first token guesses; default 0, none. */
  readonly follows?: number;
}

const rowsWanted = { all: Infinity, last: 1, none: 0 } as const;

/**
 * The segment that continues a text: token i of it stands at position `first + i`, in the cell of the same index within
 * the sequence's range, and sees everything before it.
 */
export function causalSegment(of: CausalText): Segment {
  const { text, first, count, cells, sampling } = of;
  const positions = new Int32Array(count);
  const ranges = new Int32Array(2 * count);
  for (let i = 0; i < count; i++) {
    positions[i] = first + i;
    ranges[2 * i] = cells.start;
    ranges[2 * i + 1] = cells.start + first + i + 1;
  }
  const wanted = typeof of.choices === 'number' ? of.choices : rowsWanted[of.choices];
  const want = new Uint8Array(count).fill(wantNothing);
  want.fill(wantChoice, Math.max(0, count - wanted));
  const penalized = sampling.repetitionPenalty === 1 ? 0 : penaltyReach;
  return {
    sequence: of.sequence,
    tokens: text.slice(first, first + count),
    positions,
    cells: positions.map((position) => cells.start + position),
    visible: {
      windowStart: cells.start,
      windowLength: windowLength(cells, first + count),
      counts: new Int32Array(count).fill(1),
      ranges,
    },
    ...(of.state ? { state: of.state } : {}),
    follows: of.follows ?? 0,
    sampling,
    recentTokens: text.slice(Math.max(0, first - penalized), first),
    want,
  };
}
