import { createHistogram } from 'node:perf_hooks';
import type { LatencySummary } from '../messages/messages.js';

/** One step in this many is timed, so that receipts cost next to nothing. */
const sampling = 8;

/** What is reported of a link on which nothing was timed. */
export const noLatency: LatencySummary = { samples: 0, p50Ms: 0, p90Ms: 0, p99Ms: 0, maxMs: 0 };

/** Times a sample of steps from their sending to their receipt. */
export class LinkLatency {
  readonly #microseconds = createHistogram();
  #steps = 0;
  #timed = 0;
  #sentAt = 0;

  /** A step is about to be sent. @returns whether it is to be timed */
  sent(id: number): boolean {
    if (this.#steps++ % sampling !== 0) return false;
    this.#timed = id;
    this.#sentAt = performance.now();
    return true;
  }

  /** @param id of the step whose receipt came; 0 for none */
  arrived(id: number): void {
    if (id === 0 || id !== this.#timed) return;
    const elapsed = (performance.now() - this.#sentAt) * 1000;
    this.#microseconds.record(Math.max(1, Math.round(elapsed)));
  }

  get summary(): LatencySummary {
    const histogram = this.#microseconds;
    if (histogram.count === 0) return noLatency;
    const percentile = (share: number) => histogram.percentile(share) / 1000;
    return {
      samples: histogram.count,
      p50Ms: percentile(50),
      p90Ms: percentile(90),
      p99Ms: percentile(99),
      maxMs: histogram.max / 1000,
    };
  }

  reset(): void {
    this.#microseconds.reset();
  }
}
