import type { TokenText } from '../step/token-text.js';
import type { DraftSource } from './draft-source.js';

/**
 * A simulation, for measuring: knows the text that the target will write, and guesses every token of it right with a
 * given probability, independently.
 */
export class OracleDraft implements DraftSource {
  readonly name: string;
  #state: number;

  /**
   * @param target the text that will come, prompt and answer
   * @param acceptance probability of a right guess, 0 to 1
   * @param seed of the wrong guesses
   */
  constructor(
    private readonly target: ArrayLike<number>,
    private readonly acceptance: number,
    seed = 1,
  ) {
    this.name = `oracle ${acceptance} (simulation)`;
    this.#state = seed;
  }

  *draft(text: TokenText, count: number): Generator<number, void> {
    const first = text.length;
    for (let i = first; i < Math.min(first + count, this.target.length); i++) {
      const right = this.target[i] as number;
      yield this.#random() < this.acceptance ? right : right === 0 ? 1 : right - 1;
    }
  }

  /** Marsaglia's xorshift of 32 bits, as a share of its range. */
  #random(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) / 2 ** 32;
  }
}
