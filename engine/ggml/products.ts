import type { Backend } from './backend.js';
import type { Ggml, Pointer } from './bindings.js';
import { fastestWay, fewRows, multiply, type Way } from './product-ways.js';
import type { Weights } from './weights.js';

/** The ways found for kinds of matrices, kept for all stages of an engine. */
export type KnownWays = Map<string, Way>;

/** Multiplies with a stage's matrices. */
export class Products {
  readonly #ways = new Map<Pointer, Way>();

  private constructor(private readonly ggml: Ggml) {}

  /**
   * Tries which way gives rows their bits, with one matrix of each kind. Devices other than the CPU have kernels of their
   * own, of which none is known to round alike.
   * @throws EngineError 'memory', 'compute'
   */
  static async choose(
    ggml: Ggml,
    backend: Backend,
    weights: Weights,
    known: KnownWays,
  ): Promise<Products> {
    const products = new Products(ggml);
    if (backend.device.kind !== 'cpu') return products;
    for (const matrix of weights.matrices) {
      const kind = `${matrix.tensor.type.name} ${matrix.tensor.shape[0]} ${matrix.buffer}`;
      let way = known.get(kind);
      if (way === undefined) known.set(kind, (way = await fastestWay(ggml, backend, matrix)));
      products.#ways.set(matrix.pointer, way);
    }
    return products;
  }

  /** Upper bound for the tensors that a product takes in a graph. */
  get mostNodesEach(): number {
    return [...this.#ways.values()].includes('one by one') ? 3 * fewRows : 3;
  }

  /** @param matrix [columns, outputs] @param x [columns, rows] @returns [outputs, rows] */
  multiply(context: Pointer, matrix: Pointer, x: Pointer): Pointer {
    const rows = this.ggml.rowCount(x);
    const isFew = rows > 1 && rows <= fewRows;
    const way = (isFew ? this.#ways.get(matrix) : undefined) ?? 'together';
    return multiply(this.ggml, context, matrix, x, way);
  }
}
