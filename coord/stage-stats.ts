import type { StageReport } from '../transport/messages/messages.js';
import type { PlannedStage } from './plan.js';

/** Where a stage's time went, in milliseconds, and what crossed its outgoing and incoming link, in bytes. */
export interface StageStats extends StageReport {
  readonly name: string;
  readonly layers: number;
  /** Share of the time that the stage did not compute, 0 to 1. */
  readonly idleShare: number;
}

/** @param elapsedMs time that the figures cover */
export function stageStats(
  { name, layers }: PlannedStage,
  report: StageReport,
  elapsedMs: number,
): StageStats {
  const idleShare = Math.min(1, Math.max(0, 1 - report.computeMs / elapsedMs));
  return { ...report, name, layers, idleShare };
}
