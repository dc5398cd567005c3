/** A short step may take this many times as long as alone while long ones are computed. */
const factor = 2;

/** Milliseconds after which a short step says nothing of those to come. */
const latelyMs = 2000;

/** Milliseconds that a short step may wait where none has come lately. */
const idleMs = 50;

/** A new time counts for so much of the mean. */
const newest = 0.25;

/**
 * How many layers of a long step are computed before a short one may come in between. A slice takes about as long as a
 * short step may be held up.
 */
export class SliceLength {
  /** Milliseconds that short steps take. */
  #shortMs = 0;
  #shortAt = -Infinity;
  /** Milliseconds of a row and layer of long steps. */
  #rowMs = Infinity;

  /** @param now value of `performance.now()` */
  addShort(ms: number, now: number): void {
    const isFirst = this.#shortAt === -Infinity;
    this.#shortMs = isFirst ? ms : this.#shortMs + newest * (ms - this.#shortMs);
    this.#shortAt = now;
  }

  addLong(rows: number, layers: number, ms: number): void {
    this.#rowMs = ms / (rows * layers);
  }

  /**
   * @param rows of the step @param layers of the stage
   * @returns a power of two, so that there are few kinds of slices, or all layers
   */
  layers(rows: number, layers: number, now: number): number {
    const isBusy = now - this.#shortAt < latelyMs;
    const sliceMs = isBusy ? (factor - 1) * this.#shortMs : idleMs;
    const fitting = sliceMs / (rows * this.#rowMs);
    if (fitting >= layers) return layers;
    return 2 ** Math.floor(Math.log2(Math.max(1, fitting)));
  }
}
