/** Lets one computation at a time use a device, in the order in which they ask: together they would only be slower. */
export class Turns {
  #isTaken = false;
  readonly #waiting: (() => void)[] = [];

  /** Whether something uses the device. */
  get isTaken(): boolean {
    return this.#isTaken;
  }

  async take<Result>(use: () => Promise<Result>): Promise<Result> {
    if (this.#isTaken) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#isTaken = true;
    try {
      return await use();
    } finally {
      const next = this.#waiting.shift();
      // The turn goes straight to whoever waits, so that nobody can come in between.
      if (next) next();
      else this.#isTaken = false;
    }
  }
}
