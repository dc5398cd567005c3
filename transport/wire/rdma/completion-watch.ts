import { SpinTime } from '../spin-time.js';

/** A queue that is looked at. */
export interface WatchedQueue {
  /** Handles some of what has completed. @returns whether something has arrived */
  take(): boolean;
  /** Has the next completion wake the watch. @returns false where there is no such thing */
  requestEvent(): boolean;
}

/** Milliseconds between two looks where the library has no events. */
const pauseMs = 1;

/** Milliseconds of looking in one turn of the event loop: everything else waits so long at most. */
const turnMs = 0.1;

/**
 * Looks at all completion queues of the process. For a short while after something was sent or has arrived it looks
 * without a pause, which is quicker than being woken, but lets everything else have its turn now and then. Then the event
 * loop sleeps until a device signals.
 */
export class CompletionWatch {
  /** The one of this process. */
  static readonly running = new CompletionWatch();
  readonly #queues = new Set<WatchedQueue>();
  readonly #spinTime = new SpinTime();
  #isLooking = false;
  #pause: NodeJS.Timeout | undefined;

  add(queue: WatchedQueue): void {
    this.#queues.add(queue);
    this.wake();
  }

  remove(queue: WatchedQueue): void {
    this.#queues.delete(queue);
  }

  /** Something was sent: looks for as long as answers usually take to come. */
  expect(): void {
    this.#spinTime.expect(performance.now());
    this.wake();
  }

  /** Something may have completed. */
  wake(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    clearTimeout(this.#pause);
    setImmediate(() => this.#look());
  }

  #look(): void {
    const begin = performance.now();
    let now = begin;
    let found = this.#takeAll();
    while (!found && now - begin < turnMs && this.#spinTime.goesOn(now)) {
      found = this.#takeAll();
      now = performance.now();
    }
    if (found) this.#spinTime.found(now);
    if (found || this.#spinTime.goesOn(now)) setImmediate(() => this.#look());
    else this.#rest();
  }

  #takeAll(): boolean {
    let found = false;
    for (const queue of this.#queues) if (queue.take()) found = true;
    return found;
  }

  #rest(): void {
    this.#isLooking = false;
    let hasEvents = true;
    for (const queue of this.#queues) if (!queue.requestEvent()) hasEvents = false;
    // What completed before the request gives no event.
    if (this.#takeAll()) return this.wake();
    if (!hasEvents) this.#pause = setTimeout(() => this.wake(), pauseMs).unref();
  }
}
