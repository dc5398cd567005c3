import { wantNothing, type Segment } from '../step/step.js';
import { SegmentMemory } from './segment-memory.js';

/** Stands for the choice of a segment that itself went wrong. */
const refuted = -1;

/**
 * What the last stage knows of guesses. A segment whose first token guesses the last choice of the one before it is for
 * nothing when that choice was another, and so is every segment of the sequence after it: the last stage sees this
 * first, and need not wait for the coordinator to cancel them.
 */
export class Refutations {
  /** The last choice of each segment. */
  readonly #choices = new SegmentMemory<number>();

  /** Whether a segment's guess is known to be wrong. */
  refutes({ sequence, follows, tokens }: Segment): boolean {
    const choice = this.#choices.get(follows, sequence);
    return choice !== undefined && choice !== tokens[0];
  }

  /** @param step id of the segment's step @param choices one per row that wanted one */
  computed(step: number, { sequence, tokens, want }: Segment, choices: Int32Array): void {
    let next = 0;
    for (let row = 0; row < want.length; row++) {
      if (want[row] === wantNothing) continue;
      const choice = choices[next++] ?? refuted;
      const guess = tokens[row + 1];
      if (guess === undefined) this.#choices.set(step, sequence, choice);
      else if (guess !== choice) return this.dropped(step, sequence);
    }
  }

  /** A segment was not computed: what follows it has nothing to build on. */
  dropped(step: number, sequence: number): void {
    this.#choices.set(step, sequence, refuted);
  }
}
