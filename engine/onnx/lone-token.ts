import type { Binding } from './binding.js';
import { stepInput } from './graph/step-input.js';
import { fixed } from './memory.js';

/** The inputs of graphs in which a token that is alone is computed as several rows (`graph/lone-token-attention.ts`). */
export class LoneToken {
  readonly #isAlone = fixed.bool(1);
  readonly #nextCells: BigInt64Array;
  readonly #padding = fixed.i64(8);

  /** @param rows that there are */
  constructor(rows: number) {
    this.#nextCells = fixed.i64(rows - 1);
  }

  /** Cells that it takes along behind its own. */
  get extraCells(): number {
    return this.#nextCells.length;
  }

  bind(binding: Binding): void {
    binding.input(stepInput.isAlone, this.#isAlone, [1]);
    binding.input(stepInput.nextCells, this.#nextCells, [this.extraCells]);
    binding.input(stepInput.maskPadding, this.#padding, [8]);
  }

  /**
   * @param tokens in the batch
   * @param seen cells that the last of them sees
   * @returns cells that attention is told of
   */
  set(tokens: number, seen: number): number {
    const isAlone = tokens === 1;
    this.#isAlone[0] = isAlone ? 1 : 0;
    if (!isAlone) return seen;
    for (let i = 0; i < this.extraCells; i++) this.#nextCells[i] = BigInt(seen + i);
    // Columns before those that hide, which is the last dimension.
    this.#padding[3] = BigInt(seen);
    return seen + this.extraCells;
  }
}
