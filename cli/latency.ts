import type { StageStats } from '../coord/stage-stats.js';

/** Median and 99th percentile of a link; a dash where there is no link, or nothing was timed. */
export function describeLatency({ samples, p50Ms, p99Ms }: StageStats['latency']): string {
  return samples === 0 ? '-' : `${p50Ms.toFixed(2)}/${p99Ms.toFixed(2)} ms`;
}
