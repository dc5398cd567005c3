import { percentile } from './percentile.js';

/** Milliseconds that a conversation waited for each of its tokens; the first is the time to first token. */
export type Waits = readonly number[];

/** Values of conversations, of which half, and 99 of 100, have no more. */
export interface Spread {
  readonly p50: number;
  readonly p99: number;
}

/** How conversations at once fared. */
export interface ConversationsResult {
  /** Of every measurement. */
  readonly count: number;
  readonly ttftMs: Spread;
  readonly tpotMs: Spread;
  /** Time per token of the slowest conversation against the median one: 1 where all are as fast. */
  readonly fairness: number;
  /** The longest that one waited for a token, be it the first or a later one. */
  readonly longestWaitMs: number;
}

/** @param measurements the waits of all conversations of each */
export function summarizeWaits(measurements: readonly (readonly Waits[])[]): ConversationsResult {
  const all = measurements.flat();
  const tpots = all
    .filter(({ length }) => length > 1)
    .map((waits) => decodeMs(waits) / (waits.length - 1));
  const tpotMs = spread(tpots);
  return {
    count: measurements[0]?.length ?? 0,
    ttftMs: spread(all.flatMap((waits) => waits.slice(0, 1))),
    tpotMs,
    fairness: percentile(tpots, 1) / tpotMs.p50,
    longestWaitMs: percentile(all.flat(), 1),
  };
}

/** Milliseconds that the tokens after the first took. */
export function decodeMs(waits: Waits): number {
  return waits.slice(1).reduce((sum, wait) => sum + wait, 0);
}

function spread(values: readonly number[]): Spread {
  return { p50: percentile(values, 0.5), p99: percentile(values, 0.99) };
}
