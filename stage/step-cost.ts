/** How long a stage takes for a step: a fixed part (weights, overhead) and a part for each row; both 0 while unknown. */
export interface StepCost {
  readonly fixedMs: number;
  readonly perRowMs: number;
}

const unknown: StepCost = { fixedMs: 0, perRowMs: 0 };

/** Steps count for less by this factor with every new one. */
const forgetting = 0.95;

/**
 * Learns what a step costs from those that were measured: a least-squares line through (rows, milliseconds), in which
 * old steps fade. It is unknown until there were steps of different sizes.
 */
export class StepCostEstimate {
  #weight = 0;
  #rows = 0;
  #ms = 0;
  #rowsSquared = 0;
  #rowsMs = 0;

  /** @param ms that computing the step took */
  add(rows: number, ms: number): void {
    this.#weight = this.#weight * forgetting + 1;
    this.#rows = this.#rows * forgetting + rows;
    this.#ms = this.#ms * forgetting + ms;
    this.#rowsSquared = this.#rowsSquared * forgetting + rows * rows;
    this.#rowsMs = this.#rowsMs * forgetting + rows * ms;
  }

  get cost(): StepCost {
    const spread = this.#weight * this.#rowsSquared - this.#rows ** 2;
    if (this.#weight < 2 || spread < 1e-3 * this.#rows ** 2) return unknown;
    const perRowMs = (this.#weight * this.#rowsMs - this.#rows * this.#ms) / spread;
    const fixedMs = (this.#ms - perRowMs * this.#rows) / this.#weight;
    if (perRowMs <= 0) return unknown;
    // Steps never cost nothing: a line that says so was bent by noise.
    return { fixedMs: Math.max(fixedMs, perRowMs), perRowMs };
  }
}
