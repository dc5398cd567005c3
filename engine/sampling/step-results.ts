import {
  logprobsWanted,
  wantedRows,
  type Segment,
  type SegmentResult,
  type Step,
  type TokenLogprobs,
} from '../../step/step.js';
import { logprobsOf } from './logprobs.js';
import { recentTokens } from './recent-tokens.js';
import { chooseToken, isGreedy } from './sampler.js';

/** What a step asks of the head. */
export interface HeadDemand {
  /** Rows of the step, over all its segments, that want a choice; ascending. */
  readonly rows: Int32Array;
  /** Whether the likeliest token is the choice of some. */
  readonly likeliest: boolean;
  /** Whether some need their logits: to sample from, or for log-probabilities. */
  readonly logits: boolean;
}

/** What the head gave for the rows of `HeadDemand.rows`, which the indices count. */
export interface HeadResults {
  /** The likeliest token of a row; asked for only where `HeadDemand.likeliest`. */
  likeliest(index: number): number;
  /** [vocabulary] f32, of a row; the repetition penalty changes them in place. Asked for where `HeadDemand.logits`. */
  logits(index: number): Float32Array;
}

export function headDemand({ segments }: Pick<Step, 'segments'>): HeadDemand {
  const rows: number[] = [];
  let likeliest = false;
  let logits = false;
  let firstRow = 0;
  for (const segment of segments) {
    const takesLikeliest = isGreedy(segment.sampling);
    for (const row of wantedRows(segment)) {
      rows.push(firstRow + row);
      likeliest ||= takesLikeliest;
      logits ||= !takesLikeliest || logprobsWanted(segment.want[row]!) !== undefined;
    }
    firstRow += segment.tokens.length;
  }
  return { rows: Int32Array.from(rows), likeliest, logits };
}

/** Chooses tokens for every segment of a step, each as its own sampling says. */
export function segmentResults(step: Pick<Step, 'segments'>, head: HeadResults): SegmentResult[] {
  let first = 0;
  return step.segments.map((segment) => {
    const rows = wantedRows(segment);
    const choices = new Int32Array(rows.length);
    const logprobs: (TokenLogprobs | undefined)[] = [];
    for (let i = 0; i < rows.length; i++) {
      const { token, logprob } = chooseForRow(segment, rows[i]!, head, first + i);
      choices[i] = token;
      logprobs.push(logprob);
    }
    first += rows.length;
    const { sequence } = segment;
    return logprobs.some(Boolean) ? { sequence, choices, logprobs } : { sequence, choices };
  });
}

/** @param index of the row among those that want a choice */
function chooseForRow(
  segment: Segment,
  row: number,
  head: HeadResults,
  index: number,
): { readonly token: number; readonly logprob?: TokenLogprobs } {
  const { sampling, positions, want } = segment;
  const top = logprobsWanted(want[row]!);
  if (isGreedy(sampling)) {
    const token = head.likeliest(index);
    return top === undefined
      ? { token }
      : { token, logprob: logprobsOf(head.logits(index), token, top) };
  }
  const logits = head.logits(index);
  // Log-probabilities are of the logits before the penalty.
  const original = top !== undefined && sampling.repetitionPenalty !== 1 ? logits.slice() : logits;
  const token = chooseToken(logits, sampling, positions[row]!, recentTokens(segment, row));
  return top === undefined ? { token } : { token, logprob: logprobsOf(original, token, top) };
}
