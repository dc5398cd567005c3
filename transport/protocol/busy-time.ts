/** Milliseconds in which something was under way, however many things at once. */
export class BusyTime {
  #underWay = 0;
  #since = 0;
  #ms = 0;

  begin(): void {
    if (this.#underWay++ === 0) this.#since = performance.now();
  }

  end(): void {
    if (--this.#underWay === 0) this.#ms += performance.now() - this.#since;
  }

  get ms(): number {
    return this.#ms + (this.#underWay > 0 ? performance.now() - this.#since : 0);
  }

  reset(): void {
    this.#ms = 0;
    this.#since = performance.now();
  }
}
