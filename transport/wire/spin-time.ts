/** Milliseconds: looking without a pause is never shorter. */
const shortestMs = 0.05;

/** By how much a wait that was longer or shorter than usual changes what is usual. */
const change = 1.1;

/**
 * How long to look for completions without a pause: as long as they usually take to come, if that is short. Where they
 * come too rarely for that, being woken costs little beside the wait.
 */
export class SpinTime {
  /** When something was last found, or expected. */
  #since = 0;
  /** Running median of the time between that and the next completion: a mean would follow the rare long waits. */
  #usualMs: number;

  /** @param longestMs looking without a pause is never longer */
  constructor(private readonly longestMs = 3) {
    this.#usualMs = longestMs;
  }

  /** Something was sent, and an answer may come. @param nowMs on any clock */
  expect(nowMs: number): void {
    this.#since = nowMs;
  }

  /** Something has completed. */
  found(nowMs: number): void {
    const isLonger = nowMs - this.#since > this.#usualMs;
    const usualMs = isLonger ? this.#usualMs * change : this.#usualMs / change;
    this.#usualMs = Math.min(2 * this.longestMs, Math.max(shortestMs, usualMs));
    this.#since = nowMs;
  }

  /** Whether to look on, when nothing has completed. */
  goesOn(nowMs: number): boolean {
    const isWorthwhile = this.#usualMs < this.longestMs;
    const spinMs = isWorthwhile ? Math.min(this.longestMs, 2 * this.#usualMs) : shortestMs;
    return nowMs - this.#since < spinMs;
  }
}
