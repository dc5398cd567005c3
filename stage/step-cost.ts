import type { Segment } from '../step/step.js';
import type { StepTimes } from '../transport/messages/messages.js';

/** Steps count for less by this factor with every new one of their class. */
const forgetting = 0.8;

interface Sums {
  weight: number;
  rows: number;
  cells: number;
  ms: number;
}

/**
 * Learns what steps cost from those that were computed: means over steps of about the same size, in which old steps
 * fade.
 */
export class StepCostEstimate {
  /** By the power of two that the rows reach. */
  readonly #classes = new Map<number, Sums>();

  /**
   * @param segments of the step
   * @param ms that computing it took
   */
  add(segments: readonly Segment[], ms: number): void {
    let rows = 0;
    let looks = 0;
    for (const { tokens, visible } of segments) {
      rows += tokens.length;
      looks += tokens.length * visible.windowLength;
    }
    const cells = looks / rows;
    const size = Math.floor(Math.log2(Math.max(1, rows)));
    const sums = this.#classes.get(size) ?? { weight: 0, rows: 0, cells: 0, ms: 0 };
    this.#classes.set(size, {
      weight: sums.weight * forgetting + 1,
      rows: sums.rows * forgetting + rows,
      cells: sums.cells * forgetting + cells,
      ms: sums.ms * forgetting + ms,
    });
  }

  /** What steps of each class took on average, small ones first. */
  get times(): StepTimes[] {
    return [...this.#classes.values()]
      .map(({ weight, rows, cells, ms }) => ({
        steps: weight,
        tokens: rows / weight,
        cells: cells / weight,
        ms: ms / weight,
      }))
      .sort((a, b) => a.tokens - b.tokens);
  }
}
