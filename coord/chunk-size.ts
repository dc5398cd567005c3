import type { StepCost } from '../stage/step-cost.js';

/** Rows by which stages are compared. */
const usualRows = 256;

/** The cost of the stage that the others wait for; undefined while none is known. */
export function slowestStage(costs: readonly StepCost[]): StepCost | undefined {
  const ms = ({ fixedMs, perRowMs }: StepCost) => fixedMs + usualRows * perRowMs;
  const known = costs.filter(({ perRowMs }) => perRowMs > 0);
  return known.length === 0 ? undefined : known.reduce((a, b) => (ms(b) > ms(a) ? b : a));
}

/** What CPUs typically show; only the ratio matters. */
const typicalCost: StepCost = { fixedMs: 8, perRowMs: 1 };

/** Kernels compute tiles of this many tokens at full speed: chunks are whole tiles, and shorter prompts stay whole. */
const tile = 64;

/**
 * The chunk size that gets a prompt through a pipeline soonest. k chunks of n / k tokens need
 * (k + stages − 1) · (fixed + perRow · n / k), which is least for k = √((stages − 1) · n · perRow / fixed).
 * @param tokens of the prompt that are to be computed
 * @param cost on the slowest stage; undefined while nothing was measured
 * @param mostTokens that one step may have
 */
export function chunkSize(
  tokens: number,
  stages: number,
  cost: StepCost | undefined,
  mostTokens: number,
): number {
  if (stages < 2 || tokens <= tile) return mostTokens;
  const { fixedMs, perRowMs } = cost ?? typicalCost;
  const chunks = Math.sqrt(((stages - 1) * tokens * perRowMs) / Math.max(fixedMs, 1e-6));
  const fewest = Math.ceil(tokens / mostTokens);
  const size = tokens / Math.max(fewest, Math.round(chunks));
  return Math.min(mostTokens, Math.max(1, Math.round(size / tile)) * tile);
}
