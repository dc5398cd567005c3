/** Milliseconds without looking after a look that others had to make room for: twice as long each time. */
const shortestPauseMs = 100;
const longestPauseMs = 10_000;

/** A look that was shorter says nothing. */
const tellingMs = 0.2;

/** A process that looks uses the core all the time, unless others want it. */
const leastShare = 0.8;

/**
 * Whether this process may keep a core busy with looking: not where others wanted that core the last time, so that it
 * was taken away. Where processor time is not counted finely enough to see that, nobody looks.
 */
export class SpareCore {
  /** The one of this process. */
  static readonly running = new SpareCore();
  #pauseMs = shortestPauseMs;
  #pausedUntil = 0;
  /** Who is looking at the moment, and since when, by both clocks. */
  #looking = 0;
  #beginMs = 0;
  #usedMs = 0;

  /** @returns whether to look; `end` then says that it is over */
  begin(): boolean {
    if (process.platform === 'win32' || performance.now() < this.#pausedUntil) return false;
    if (this.#looking++ === 0) {
      this.#usedMs = processorMs();
      this.#beginMs = performance.now();
    }
    return true;
  }

  end(): void {
    if (--this.#looking > 0) return;
    const now = performance.now();
    const elapsedMs = now - this.#beginMs;
    if (elapsedMs < tellingMs) return;
    if (processorMs() - this.#usedMs >= leastShare * elapsedMs) {
      this.#pauseMs = Math.max(shortestPauseMs, this.#pauseMs / 2);
      return;
    }
    this.#pausedUntil = now + this.#pauseMs;
    this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2);
  }
}

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
