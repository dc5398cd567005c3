import type { Binding } from './binding.js';
import { cacheNames, stepInput } from './graph/onnx-graph-builder.js';
import type { KvCache } from './kv-cache.js';
import { fixed } from './memory.js';

/** The inputs of graphs in which no token is computed alone. */
export class Companion {
  readonly #query: Float32Array;
  /** Keys and values of the cell before the token: [kvHeads · headSize] per layer. */
  readonly #rows: readonly {
    readonly layer: number;
    readonly kind: 'keys' | 'values';
    readonly row: Float32Array;
  }[];

  /** @param heads of queries */
  constructor(
    private readonly cache: KvCache,
    private readonly heads: number,
  ) {
    const { kvHeads, headSize } = cache.sizes;
    this.#query = fixed.f32(heads * headSize);
    this.#rows = cache.layers.flatMap((layer) =>
      (['keys', 'values'] as const).map((kind) => ({
        layer,
        kind,
        row: fixed.f32(kvHeads * headSize),
      })),
    );
  }

  /**
   * Whether a token is computed with the one before it: it is alone, and not the first, whose attention is exact.
   * @param cells that it sees
   */
  static isNeeded(tokens: number, cells: number): boolean {
    return tokens === 1 && cells > 1;
  }

  bind(binding: Binding, tokens: number, isNeeded: boolean): void {
    const { kvHeads, headSize } = this.cache.sizes;
    const repeated = isNeeded ? 1 : 0;
    const rows = fixed.i64(tokens);
    rows.forEach((_, i) => (rows[i] = BigInt(repeated + i)));
    binding.input(stepInput.rows, rows, [tokens]);
    binding.input(stepInput.repeatedQuery, this.#query, [1, repeated, this.heads * headSize]);
    for (const { layer, kind, row } of this.#rows)
      binding.input(cacheNames(layer, kind).repeated, row, [1, repeated, kvHeads * headSize]);
  }

  /** @param cell before the token */
  repeat(cell: number): void {
    for (const { layer, kind, row } of this.#rows) this.cache.readCell(layer, kind, cell, row);
  }
}
