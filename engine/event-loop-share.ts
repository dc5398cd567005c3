/** Milliseconds: what computes sooner than this would wait about as long for another thread and for its answer. */
const instantMs = 4;

/** Milliseconds of computing on the event loop's thread after which everything else has its turn. */
const turnMs = 4;

/**
 * The part of the event loop's time that computing may have. Handing a short computation to another thread, and being
 * woken by that, costs more than it gains; but timers, heartbeats and other conversations must not wait for long.
 */
export class EventLoopShare {
  /** The one of this process. */
  static readonly running = new EventLoopShare();
  #usedMs = 0;
  #turn: Promise<void> | undefined;

  /** Whether a computation that took so long the last time is to be done on the event loop's thread. */
  isInstant(ms: number): boolean {
    return ms < instantMs;
  }

  /** @returns a promise while others have their turn first */
  enter(): Promise<void> | undefined {
    return this.#usedMs < turnMs ? undefined : this.#turn;
  }

  /** So much was computed on the event loop's thread. */
  used(ms: number): void {
    this.#usedMs += ms;
    this.#turn ??= new Promise((resolve) =>
      setImmediate(() => {
        this.#usedMs = 0;
        this.#turn = undefined;
        resolve();
      }),
    );
  }
}
