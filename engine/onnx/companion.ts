import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import type { Binding } from './binding.js';
import { stepInput } from './graph/onnx-graph-builder.js';
import { fixed } from './memory.js';

/** The inputs of graphs in which no token is computed alone. */
export class Companion {
  readonly #cell = fixed.i64(1);
  readonly #query: Float32Array;

  constructor(private readonly sizes: Pick<Hyperparameters, 'heads' | 'kvHeads' | 'headSize'>) {
    this.#query = fixed.f32(sizes.heads * sizes.headSize);
  }

  /**
   * Whether a token is computed with the one before it: it is alone, and not the first, whose attention is exact.
   * @param cells that it sees
   */
  static isNeeded(tokens: number, cells: number): boolean {
    return tokens === 1 && cells > 1;
  }

  bind(binding: Binding, tokens: number, isNeeded: boolean): void {
    const { heads, kvHeads, headSize } = this.sizes;
    const repeated = isNeeded ? 1 : 0;
    const shape = fixed.i64(3);
    shape.set([1n, BigInt(repeated), BigInt(kvHeads * headSize)]);
    const rows = fixed.i64(tokens);
    rows.forEach((_, i) => (rows[i] = BigInt(repeated + i)));
    binding.input(stepInput.repeatedCell, this.#cell, [repeated]);
    binding.input(stepInput.repeatedShape, shape, [3]);
    binding.input(stepInput.repeatedQuery, this.#query, [1, repeated, heads * headSize]);
    binding.input(stepInput.rows, rows, [tokens]);
  }

  /** @param cells that the token sees, its own the last of them */
  set(cells: number): void {
    this.#cell[0] = BigInt(Math.max(0, cells - 2));
  }
}
