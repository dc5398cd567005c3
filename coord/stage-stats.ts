import type { LatencySummary, Messages } from '../transport/messages.js';
import type { PlannedStage } from './plan.js';

/** Where a stage's time went, in milliseconds, and what crossed its outgoing and incoming link, in bytes. */
export interface StageStats {
  readonly name: string;
  readonly layers: number;
  readonly steps: number;
  readonly computeMs: number;
  readonly encodeMs: number;
  readonly decodeMs: number;
  /** Waiting for the link to take a step. */
  readonly sendMs: number;
  /** Waiting for a step. */
  readonly waitMs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly residentBytes: number;
  /** Of the link to the next stage: from sending a step to its receipt. */
  readonly latency: LatencySummary;
  /** Share of the time that the stage did not compute, 0 to 1. */
  readonly idleShare: number;
}

/** @param elapsedMs time that the figures cover */
export function stageStats(
  { name, layers }: PlannedStage,
  stats: Messages['stats'],
  elapsedMs: number,
): StageStats {
  return {
    name,
    layers,
    steps: stats.steps,
    computeMs: stats.computeMs,
    encodeMs: stats.encodeMs,
    decodeMs: stats.decodeMs,
    sendMs: stats.sendMs,
    waitMs: stats.waitMs,
    bytesSent: stats.bytesSent,
    bytesReceived: stats.bytesReceived,
    residentBytes: stats.residentBytes,
    latency: stats.latency,
    idleShare: Math.min(1, Math.max(0, 1 - stats.computeMs / elapsedMs)),
  };
}
