import type { TraceEvent } from '../transport/protocol/tracer.js';

/** A row of the timeline for each kind of event. */
const rows: readonly TraceEvent['what'][] = ['receive', 'decode', 'compute', 'encode', 'send'];

/**
 * A timeline of all stages in Chrome's trace format (chrome://tracing, ui.perfetto.dev): a process per stage.
 * @param stages names and events, in pipeline order
 */
export function chromeTrace(
  stages: readonly { name: string; events: readonly TraceEvent[] }[],
): string {
  const traceEvents = stages.flatMap(({ name, events }, pid) => [
    { ph: 'M', name: 'process_name', pid, args: { name } },
    ...rows.map((row, tid) => ({ ph: 'M', name: 'thread_name', pid, tid, args: { name: row } })),
    ...events.map(({ what, step, beginMs, durationMs }) => ({
      ph: 'X',
      name: `${what} ${step}`,
      pid,
      tid: rows.indexOf(what),
      ts: beginMs * 1000,
      dur: durationMs * 1000,
      args: { step },
    })),
  ]);
  return JSON.stringify({ traceEvents });
}
