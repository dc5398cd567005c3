import type { StepKind } from './scheduler.js';

/** What steps of one kind there were. */
export interface StepCounts {
  steps: number;
  rows: number;
}

/** How sequences got through the stages, since the last reset. */
export interface BatchStats {
  /** Steps of decoding sequences that share them, and of parts of texts that were read. */
  readonly steps: Readonly<Record<StepKind, Readonly<StepCounts>>>;
  /** Decoding sequences in a step, on average. */
  readonly rowsPerStep: number;
  /** Steps of decoding sequences in flight, on average, whenever one was sent. */
  readonly cohorts: number;
  /** Milliseconds from asking for a token until the first row was sent. */
  readonly queueMs: Readonly<Record<StepKind, { readonly mean: number; readonly most: number }>>;
}

interface QueueTimes {
  count: number;
  totalMs: number;
  mostMs: number;
}

/** Counts what the batcher does. */
export class BatchCounter {
  readonly #steps = { token: { steps: 0, rows: 0 }, text: { steps: 0, rows: 0 } };
  readonly #queue = { token: noTimes(), text: noTimes() };
  #inFlight = 0;

  /** A step is sent. @param inFlight steps of its kind on their way, with it */
  sent(kind: StepKind, rows: number, inFlight: number): void {
    this.#steps[kind].steps++;
    this.#steps[kind].rows += rows;
    if (kind === 'token') this.#inFlight += inFlight;
  }

  /** A request's first row is sent. */
  waited(kind: StepKind, ms: number): void {
    const times = this.#queue[kind];
    times.count++;
    times.totalMs += ms;
    times.mostMs = Math.max(times.mostMs, ms);
  }

  get stats(): BatchStats {
    const { token, text } = this.#steps;
    const queue = ({ count, totalMs, mostMs }: QueueTimes) => ({
      mean: totalMs / Math.max(1, count),
      most: mostMs,
    });
    return {
      steps: { token: { ...token }, text: { ...text } },
      rowsPerStep: token.rows / Math.max(1, token.steps),
      cohorts: this.#inFlight / Math.max(1, token.steps),
      queueMs: { token: queue(this.#queue.token), text: queue(this.#queue.text) },
    };
  }
}

function noTimes(): QueueTimes {
  return { count: 0, totalMs: 0, mostMs: 0 };
}
