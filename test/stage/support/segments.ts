import { greedy } from '../../../step/sampling.js';
import { wantChoice, type Segment, type Step } from '../../../step/step.js';

/** Cells of each sequence in these tests: sequence n has those from `n * cellsEach` on. */
export const cellsEach = 64;

/** The part of a text from `first` on, every row of which wants a choice. */
export function segmentOf(
  text: readonly number[],
  first: number,
  sequence: number,
  follows = 0,
): Segment {
  const tokens = Int32Array.from(text.slice(first));
  const positions = tokens.map((_, i) => first + i);
  const start = sequence * cellsEach;
  return {
    sequence,
    tokens,
    positions,
    cells: positions.map((position) => start + position),
    visible: {
      windowStart: start,
      windowLength: cellsEach,
      counts: new Int32Array(tokens.length).fill(1),
      ranges: Int32Array.from([...positions].flatMap((position) => [start, start + position + 1])),
    },
    follows,
    sampling: greedy,
    recentTokens: new Int32Array(0),
    want: new Uint8Array(tokens.length).fill(wantChoice),
  };
}

/** A step of one token of each of some sequences: the token is the step's id. */
export function stepOf(id: number, sequences: readonly number[] = [1], epoch = 0): Step {
  return { id, epoch, segments: sequences.map((sequence) => segmentOf([id], 0, sequence)) };
}
