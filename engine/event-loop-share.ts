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

  /**
   * Does a computation: at once, when others have had their turn, or elsewhere if it took long the last time.
   * @param lastMs that it took then
   * @returns milliseconds that it took
   */
  async run(
    lastMs: number,
    compute: (isInstant: boolean) => Promise<void> | void,
  ): Promise<number> {
    const isInstant = this.isInstant(lastMs);
    if (isInstant) await this.enter();
    const begin = performance.now();
    await compute(isInstant);
    const ms = performance.now() - begin;
    if (isInstant) this.used(ms);
    return ms;
  }

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
