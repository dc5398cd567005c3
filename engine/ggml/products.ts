import { fewRows } from '../../step/tiles.js';
import type { Backend } from './backend.js';
import type { Ggml, Pointer } from './bindings.js';
import { fastestRule } from './product-rules.js';
import { multiply, multiplyHeads, type ProductRule } from './product-ways.js';
import type { Weights } from './weights.js';

/** The rules found for kinds of matrices, kept for all stages of an engine. */
export type KnownRules = Map<string, ProductRule>;

const anyRows: ProductRule = { few: 'together', multiple: 1 };

/** Multiplies with a stage's matrices. */
export class Products {
  readonly #rules = new Map<Pointer, ProductRule>();

  private constructor(private readonly ggml: Ggml) {}

  /**
   * Tries by which rule rows get their bits, with one matrix of each kind. Devices other than the CPU have kernels of
   * their own, of which none is known to round alike.
   * @throws EngineError 'memory', 'compute'
   */
  static async choose(
    ggml: Ggml,
    backend: Backend,
    weights: Weights,
    known: KnownRules,
  ): Promise<Products> {
    const products = new Products(ggml);
    if (backend.device.kind !== 'cpu') return products;
    for (const matrix of weights.matrices) {
      const { tensor, use, buffer } = matrix;
      const kind = `${use} ${tensor.type.name} ${tensor.shape[0]} ${buffer}`;
      let rule = known.get(kind);
      if (rule === undefined) known.set(kind, (rule = await fastestRule(ggml, backend, matrix)));
      products.#rules.set(matrix.pointer, rule);
    }
    return products;
  }

  /** Upper bound for the tensors that a product takes in a graph. */
  get mostNodesEach(): number {
    const isOneByOne = [...this.#rules.values()].some(({ few }) => few === 'one by one');
    return isOneByOne ? 3 * fewRows : 3;
  }

  /** @param matrix [columns, outputs] @param x [columns, rows] @returns [outputs, rows] */
  multiply(context: Pointer, matrix: Pointer, x: Pointer): Pointer {
    return multiply(this.ggml, context, matrix, x, this.#rules.get(matrix) ?? anyRows);
  }

  /**
   * Every head with a matrix of its own.
   * @param matrices [columns, outputs, heads]
   * @param x [columns, heads, rows], contiguous
   * @returns [outputs, heads, rows]
   */
  multiplyHeads(context: Pointer, matrices: Pointer, x: Pointer, heads: number): Pointer {
    const rule = this.#rules.get(matrices) ?? anyRows;
    return multiplyHeads(this.ggml, context, matrices, x, heads, rule);
  }
}
