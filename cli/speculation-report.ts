import type { SpeculationStats } from '../coord/speculator.js';

/** What `--json` prints of speculation. */
export type SpeculationReport = Pick<
  SpeculationStats,
  'mode' | 'drafted' | 'accepted' | 'acceptanceRate' | 'cancelledSteps'
>;

const none: SpeculationReport = {
  mode: 'off',
  drafted: 0,
  accepted: 0,
  acceptanceRate: 0,
  cancelledSteps: 0,
};

/** @param stats undefined when there is no speculation */
export function describeSpeculation(stats: SpeculationStats | undefined): SpeculationReport {
  if (!stats) return none;
  const { mode, drafted, accepted, acceptanceRate, cancelledSteps } = stats;
  return { mode, drafted, accepted, acceptanceRate, cancelledSteps };
}
