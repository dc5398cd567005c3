import type { GraphBuilder } from '../../model/architectures/graph-builder.js';
import type { Hyperparameters, RopePairing } from '../../model/architectures/hyperparameters.js';
import { ropeFactorsTensor } from '../../model/shard-tensors.js';
import type { Ggml, Pointer } from './bindings.js';
import type { CellRows, KvCache, LayerCache } from './kv-cache.js';
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
  readonly segments: readonly SegmentInputs[];
  /** i32 [rows] */
  readonly positions: Pointer;
  /** i64 [rows] */
  readonly cells: Pointer;
}

/** A segment's rows, one after the other, and the window that they look at. */
export interface SegmentInputs {
  readonly firstRow: number;
  readonly rows: number;
  readonly windowStart: number;
  readonly windowLength: number;
  /** f16 [windowLength, rows]: 0 where a row sees a cell, -infinity elsewhere. */
  readonly mask: Pointer;
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
    const { ggml, context, inputs } = this;
    const { sizes, kv } = this.parts;
    const cache = kv.layer(layer);
    this.#store(cache.keys, k);
    this.#store(cache.values, v);
    const width = sizes.heads * sizes.headSize;
    const [first, ...others] = inputs.segments;
    if (first && others.length === 0)
      return ggml.reshape2d(context, this.#attend(q, cache, first), width, inputs.rows);
    const headBytes = sizes.headSize * Float32Array.BYTES_PER_ELEMENT;
    const rowBytes = sizes.heads * headBytes;
    // What a segment's rows make of the cells takes the place of their queries, which nothing else needs.
    let rows = ggml.reshape2d(context, q, width, inputs.rows);
    for (const segment of inputs.segments) {
      const offset = segment.firstRow * rowBytes;
      const queries = ggml.view3d(
        context,
        q,
        sizes.headSize,
        sizes.heads,
        segment.rows,
        headBytes,
        rowBytes,
        offset,
      );
      const attended = this.#attend(queries, cache, segment);
      rows = ggml.setInPlace(
        context,
        rows,
        ggml.reshape2d(context, attended, width, segment.rows),
        rowBytes,
        offset,
      );
    }
    return rows;
  }

  swiglu(gate: Pointer, up: Pointer): Pointer {
    return this.ggml.swiglu(this.context, gate, up);
  }

  add(a: Pointer, b: Pointer): Pointer {
    return this.ggml.add(this.context, a, b);
  }

  /** Writes all rows' keys, or values, to their cells. */
  #store(into: CellRows, heads: Pointer): void {
    const { ggml, context, inputs } = this;
    const { sizes } = this.parts;
    const rows = ggml.reshape2d(context, heads, sizes.kvHeads * sizes.headSize, inputs.rows);
    ggml.expand(this.graph, ggml.setRows(context, into.tensor, rows, inputs.cells));
  }

  /** @param q [headSize, heads, rows] of the segment @returns the same */
  #attend(q: Pointer, { keys, values }: LayerCache, segment: SegmentInputs): Pointer {
    const { ggml, context } = this;
    return ggml.flashAttention(
      context,
      ggml.permute(context, q, 0, 2, 1, 3),
      this.#window(keys, segment),
      this.#window(values, segment),
      segment.mask,
      1 / Math.sqrt(this.parts.sizes.headSize),
      0,
      0,
    );
  }

  /** The window's cells as [headSize, cells, kvHeads]. */
  #window({ tensor, rowBytes }: CellRows, { windowStart, windowLength }: SegmentInputs): Pointer {
    const { kv, sizes } = this.parts;
    return this.ggml.view3d(
      this.context,
      tensor,
      sizes.headSize,
      windowLength,
      sizes.kvHeads,
      rowBytes,
      kv.bytesOf(sizes.headSize),
      windowStart * rowBytes,
    );
  }
}
