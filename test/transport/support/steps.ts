import {
  wantChoice,
  wantLogprobs,
  wantNothing,
  type Segment,
  type Step,
} from '../../../step/step.js';

/** A causal step of one sequence with so many tokens that a stage would accept. */
export function stepOf(rows: number, id = 1): Step {
  return { id, epoch: 1, segments: [segmentOf(rows, 7, id)], calibratesKv: false };
}

/** A step of several sequences with so many tokens each. */
export function crowdOf(rows: readonly number[], id = 1): Step {
  const segments = rows.map((each, i) => segmentOf(each, i + 1, id));
  return { id, epoch: 2 ** 32 - 1, segments, calibratesKv: false };
}

function segmentOf(rows: number, sequence: number, seed: number): Segment {
  const indices = Int32Array.from({ length: rows }, (_, i) => i);
  return {
    sequence,
    tokens: indices.map((i) => 1000 + i + seed),
    positions: indices,
    cells: indices,
    visible: {
      windowStart: 0,
      windowLength: 256 * Math.ceil(rows / 256),
      counts: new Int32Array(rows).fill(1),
      ranges: Int32Array.from({ length: 2 * rows }, (_, i) => (i % 2) * ((i >> 1) + 1)),
    },
    ...(sequence % 2 === 0 ? { state: { read: sequence - 3, write: sequence } } : {}),
    follows: sequence - 1,
    sampling: {
      temperature: 0.8,
      topK: 0,
      typicalP: 0.9,
      topP: 0.95,
      minP: 0.05,
      repetitionPenalty: 1,
      seed: 2 ** 32 - 1,
    },
    recentTokens: indices.subarray(0, Math.min(rows, sequence - 1)),
    want: Uint8Array.from(indices, (i) =>
      i < rows - 1 ? wantNothing : sequence % 2 === 0 ? wantLogprobs(5) : wantChoice,
    ),
  };
}
