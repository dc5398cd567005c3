/** What a stage did with a step, and when. */
export interface TraceEvent {
  readonly what: 'compute' | 'encode' | 'send' | 'receive' | 'decode';
  readonly step: number;
  /** Milliseconds since 1970, by this machine's clock. */
  readonly beginMs: number;
  readonly durationMs: number;
}

/** More events than this are dropped: some 10,000 steps. */
const mostEvents = 50_000;

/** Keeps what a stage does with every step, from `start` to `stop`. Costs nothing while it is off. */
export class Tracer {
  #events: TraceEvent[] | undefined;

  start(): void {
    this.#events = [];
  }

  /** @returns what happened since the start */
  stop(): TraceEvent[] {
    const events = this.#events ?? [];
    this.#events = undefined;
    return events;
  }

  /** @param begin value of `performance.now()` when it began; it ends now unless `end` is given */
  record(what: TraceEvent['what'], step: number, begin: number, end = performance.now()): void {
    if (!this.#events || this.#events.length >= mostEvents) return;
    const beginMs = performance.timeOrigin + begin;
    this.#events.push({ what, step, beginMs, durationMs: end - begin });
  }
}
