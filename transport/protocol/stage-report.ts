import type { StageReport } from '../messages/messages.js';
import { noLatency } from './link-latency.js';
import type { TensorReceiver, TensorSender } from './tensor-link.js';

/** What a stage knows of its own computing; the rest of a report is about its links. */
export type ComputeReport = Pick<
  StageReport,
  'steps' | 'times' | 'computeMs' | 'waitMs' | 'routings'
>;

/**
 * Where a stage's time went and what crossed its links, in the form that coordinator and workers exchange.
 * @param computing undefined for a shard without layers
 * @param sender to the next stage @param receiver from the one before
 */
export function stageReport(
  computing: ComputeReport | undefined,
  sender: TensorSender | undefined,
  receiver: TensorReceiver | undefined,
): StageReport {
  return {
    steps: computing?.steps ?? 0,
    times: computing?.times ?? [],
    computeMs: computing?.computeMs ?? 0,
    waitMs: computing?.waitMs ?? 0,
    routings: computing?.routings ?? [],
    encodeMs: sender?.encodeMs ?? 0,
    sendMs: sender?.sendMs ?? 0,
    decodeMs: receiver?.decodeMs ?? 0,
    bytesSent: sender?.bytesSent ?? 0,
    bytesReceived: receiver?.bytesReceived ?? 0,
    residentBytes: process.memoryUsage.rss(),
    latency: sender?.latency ?? noLatency,
  };
}
