import { noLatency } from './link-latency.js';
import type { Messages } from './messages.js';
import type { TensorReceiver, TensorSender } from './tensor-link.js';

/**
 * Where a stage's time went and what crossed its links, in the form that coordinator and workers exchange.
 * @param computing undefined for a coordinator without layers
 * @param sender to the next stage @param receiver from the one before
 */
export function stageReport(
  computing: Pick<Messages['stats'], 'steps' | 'computeMs' | 'waitMs'> | undefined,
  sender: TensorSender | undefined,
  receiver: TensorReceiver | undefined,
): Messages['stats'] {
  return {
    steps: computing?.steps ?? 0,
    computeMs: computing?.computeMs ?? 0,
    waitMs: computing?.waitMs ?? 0,
    encodeMs: sender?.encodeMs ?? 0,
    sendMs: sender?.sendMs ?? 0,
    decodeMs: receiver?.decodeMs ?? 0,
    bytesSent: sender?.bytesSent ?? 0,
    bytesReceived: receiver?.bytesReceived ?? 0,
    residentBytes: process.memoryUsage.rss(),
    latency: sender?.latency ?? noLatency,
  };
}
