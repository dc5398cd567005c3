import type { StageStep } from './stage-runner.js';

/** Steps that are remembered; more than can be in flight. */
const remembered = 256;

/** Stands for the choice of a step that itself went wrong. */
const refuted = -1;

/**
 * What the last stage knows of guesses. A step whose first token guesses the last choice of the one before it is for
 * nothing when that choice was another, and so is every step after it: the last stage sees this first, and need not
 * wait for the coordinator to cancel them.
 */
export class Refutations {
  /** The last choice of each step, in the order of computing. */
  readonly #choices = new Map<number, number>();

  /** Whether a step's guess is known to be wrong. */
  refutes({ follows, tokens }: Pick<StageStep, 'follows' | 'tokens'>): boolean {
    const choice = this.#choices.get(follows);
    return choice !== undefined && choice !== tokens[0];
  }

  /** @param choices one per output row of the step */
  computed({ id, tokens, outputs }: StageStep, choices: Int32Array): void {
    let last: number | undefined;
    for (const [i, row] of outputs.entries()) {
      const guess = tokens[row + 1];
      if (guess === undefined) last = choices[i];
      else if (guess !== choices[i]) return this.#remember(id, refuted);
    }
    if (last !== undefined) this.#remember(id, last);
  }

  /** A step was not computed: what follows it has nothing to build on. */
  dropped(id: number): void {
    this.#remember(id, refuted);
  }

  #remember(id: number, choice: number): void {
    this.#choices.set(id, choice);
    const oldest = this.#choices.keys().next().value;
    if (this.#choices.size > remembered && oldest !== undefined) this.#choices.delete(oldest);
  }
}
