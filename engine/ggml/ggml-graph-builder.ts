import type { GraphBuilder } from '../../model/architectures/graph-builder.js';
import type { Hyperparameters, RopePairing } from '../../model/architectures/hyperparameters.js';
import { ropeFactorsTensor } from '../../model/shard-tensors.js';
import type { Ggml, Pointer } from './bindings.js';
import type { MaskedPiece } from './attention/attention.js';
import type { KvCache } from './attention/kv-cache.js';
import type { Products } from './products.js';
import type { Weights } from './weights.js';

/** GGML_ROPE_TYPE_NORMAL and GGML_ROPE_TYPE_NEOX. */
const ropeMode: Record<RopePairing, number> = { neighbours: 0, halves: 2 };

/** What of a stage its graphs refer to. */
export interface GraphParts {
  readonly sizes: Hyperparameters;
  readonly weights: Weights;
  readonly products: Products;
  readonly kv: KvCache;
}

/** Input tensors and sizes that a graph's ops refer to. */
export interface GraphInputs {
  /** Of all segments. */
  readonly rows: number;
  readonly pieces: readonly MaskedPiece[];
  /** i32 [rows] */
  readonly positions: Pointer;
  /** i64 [rows] */
  readonly cells: Pointer;
}

/** Writes the op vocabulary as a ggml graph. */
export class GgmlGraphBuilder implements GraphBuilder<Pointer> {
  constructor(
    private readonly ggml: Ggml,
    private readonly context: Pointer,
    private readonly graph: Pointer,
    private readonly parts: GraphParts,
    private readonly inputs: GraphInputs,
  ) {}

  rmsNorm(x: Pointer, weight: string): Pointer {
    const normal = this.ggml.rmsNorm(this.context, x, this.parts.sizes.normEpsilon);
    return this.ggml.mul(this.context, normal, this.parts.weights.get(weight));
  }

  linear(x: Pointer, name: string, options?: { bias: boolean }): Pointer {
    const { context } = this;
    const { weights, products } = this.parts;
    const product = products.multiply(context, weights.get(`${name}.weight`), x);
    if (!options?.bias) return product;
    return this.ggml.add(context, product, weights.get(`${name}.bias`));
  }

  splitHeads(x: Pointer, heads: number): Pointer {
    const { headSize } = this.parts.sizes;
    return this.ggml.reshape3d(this.context, x, headSize, heads, this.inputs.rows);
  }

  rope(x: Pointer): Pointer {
    const { weights, sizes } = this.parts;
    const { rope } = sizes;
    const factors = weights.has(ropeFactorsTensor) ? weights.get(ropeFactorsTensor) : null;
    return this.ggml.rope(
      this.context,
      x,
      this.inputs.positions,
      factors,
      rope.dimensions,
      ropeMode[rope.pairing],
      rope.originalContext,
      rope.base,
      rope.frequencyScale,
      rope.yarnFactor,
      1,
      32,
      1,
    );
  }

  attention(layer: number, q: Pointer, k: Pointer, v: Pointer): Pointer {
    const { ggml, context, graph, inputs } = this;
    const { kv } = this.parts;
    const cache = kv.layer(layer);
    kv.way.store({ context, graph }, cache, k, v, inputs.cells);
    const attend = (queries: Pointer, piece: MaskedPiece) =>
      kv.way.attend(context, kv.attention, cache, queries, piece);
    const [first, ...others] = inputs.pieces;
    if (first && others.length === 0) return attend(q, first);
    // What a piece's rows make of the cells takes the place of their queries, which nothing else needs.
    const { heads, keySize } = kv.attention;
    const width = heads * keySize;
    const rowBytes = width * Float32Array.BYTES_PER_ELEMENT;
    let rows = ggml.reshape2d(context, q, width, inputs.rows);
    for (const piece of inputs.pieces) {
      const offset = piece.firstRow * rowBytes;
      const queries = ggml.view3d(
        context,
        q,
        keySize,
        heads,
        piece.rows,
        rowBytes / heads,
        rowBytes,
        offset,
      );
      rows = ggml.setInPlace(context, rows, attend(queries, piece), rowBytes, offset);
    }
    return rows;
  }

  swiglu(gate: Pointer, up: Pointer): Pointer {
    return this.ggml.swiglu(this.context, gate, up);
  }

  add(a: Pointer, b: Pointer): Pointer {
    return this.ggml.add(this.context, a, b);
  }
}
