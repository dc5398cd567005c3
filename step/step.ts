import type { KeyedPage, PageCopy } from './pages.js';
import type { Sampling } from './sampling.js';

/**
 * One forward pass through a route. The coordinator decides everything in it: equal steps on equal weights give equal
 * bits, whatever the split. The rows of a step are those of its segments, one segment after the other.
 */
export interface Step {
  /** 1 to 2^32 - 1. */
  readonly id: number;
  /** Of the route that it was made for; stages drop steps of routes that are no more. */
  readonly epoch: number;
  /** One or more, each of another sequence; none where pages are copied or kept, or where it is only to come behind others. */
  readonly segments: readonly Segment[];
  /**
   * Stages that keep keys and values as whole numbers choose scales for them that this step's fit, and those of earlier
   * steps of the kind. It has one segment, the beginning of a text, and what it leaves in the cells is of no use.
   */
  readonly calibratesKv?: boolean;
  /** Copied one after the other: how texts move, and begin with what others have. Nothing else is in such a step. */
  readonly copies?: readonly PageCopy[];
  /** Kept in files as they are then, as far as there is room to wait for the disk. Nothing else is in such a step. */
  readonly keeps?: readonly KeyedPage[];
  /**
   * It waits for all steps before it: those may still write to cells that it writes to or reads. Others may be computed
   * while a longer step is.
   */
  readonly inOrder?: boolean;
}

/** The part of a step that belongs to one sequence: n tokens. What it gives does not depend on the step's others. */
export interface Segment {
  /** Id of the sequence, 1 to 2^32 - 1. */
  readonly sequence: number;
  /** [n] token ids. */
  readonly tokens: Int32Array;
  /** [n] positions in the sequence, for rotary embedding and for sampling noise. */
  readonly positions: Int32Array;
  /** [n] KV cells that receive these tokens' keys and values. */
  readonly cells: Int32Array;
  readonly visible: Visible;
  /** Asked for by models whose layers keep a state; others do not look at it. */
  readonly state?: StateSlots;
  /** Id of the step whose last choice for this sequence the first token guesses; 0 when it guesses nothing. */
  readonly follows: number;
  readonly sampling: Sampling;
  /** Tokens before this segment that the repetition penalty may look at; empty when it is off. */
  readonly recentTokens: Int32Array;
  /** [n] what is asked of the head for each row: `wantNothing`, `wantChoice`, or what `wantLogprobs` gives. */
  readonly want: Uint8Array;
}

/** Where layers find the state of all tokens before a segment, and where they keep the one behind its last token. */
export interface StateSlots {
  /** `noState` at position 0, and nowhere else. */
  readonly read: number;
  readonly write: number;
}

/** Value of `StateSlots.read` where a text begins. */
export const noState = -1;

/** The cells that a segment's tokens see. */
export interface Visible {
  /** Attention looks at cells [windowStart, windowStart + windowLength) and nowhere else. */
  readonly windowStart: number;
  readonly windowLength: number;
  /**
   * [n] how many entries of `ranges` belong to each token: causal text needs one for each, a tree of drafts one for the
   * prefix and some for its ancestors.
   */
  readonly counts: Int32Array;
  /** Pairs [from, to) of cells, absolute, within the window; the tokens' ranges one after the other. */
  readonly ranges: Int32Array;
}

/** Values of `Segment.want`. */
export const wantNothing = 0;
export const wantChoice = 1;

/** Most tokens whose log-probabilities can be asked for beside a choice. */
export const mostLogprobs = 20;

/** Asks for a choice, its log-probability, and those of the `top` likeliest tokens. @param top 0 to `mostLogprobs` */
export function wantLogprobs(top: number): number {
  return 2 + top;
}

/** What a row wants beside its choice: how many likeliest tokens' log-probabilities; undefined for none at all. */
export function logprobsWanted(want: number): number | undefined {
  return want >= 2 ? want - 2 : undefined;
}

/** What the last stage gives for a segment. */
export interface SegmentResult {
  readonly sequence: number;
  /** The chosen token id for every row that wanted a choice, in their order. */
  readonly choices: Int32Array;
  /** For every row of `choices`, where it was asked for; absent when no row did. */
  readonly logprobs?: readonly (TokenLogprobs | undefined)[];
}

/** Log-probabilities (nats) at one position, from the logits as the model gives them: before temperature and filters. */
export interface TokenLogprobs {
  /** Of the chosen token. */
  readonly chosen: number;
  /** The likeliest token ids, the likeliest first. */
  readonly topTokens: Int32Array;
  /** [topTokens] */
  readonly top: Float32Array;
}

/** Rows of a step: tokens of all its segments. */
export function rowsOfStep({ segments }: Pick<Step, 'segments'>): number {
  return segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
}

/** Indices of a segment's rows that want a choice, ascending. */
export function wantedRows({ want }: Pick<Segment, 'want'>): Int32Array {
  const rows: number[] = [];
  for (let row = 0; row < want.length; row++) if (want[row] !== wantNothing) rows.push(row);
  return Int32Array.from(rows);
}
