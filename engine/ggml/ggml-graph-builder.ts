import type { GraphBuilder } from '../../model/architectures/graph-builder.js';
import type { Hyperparameters, RopePairing } from '../../model/architectures/hyperparameters.js';
import { ropeFactorsTensor } from '../../model/shard.js';
import type { Ggml, Pointer } from './bindings.js';
import type { KvCache } from './kv-cache.js';
import type { Weights } from './weights.js';

/** GGML_ROPE_TYPE_NORMAL and GGML_ROPE_TYPE_NEOX. */
const ropeMode: Record<RopePairing, number> = { neighbours: 0, halves: 2 };

/** Input tensors and sizes that a graph's ops refer to. */
export interface GraphInputs {
  readonly tokens: number;
  readonly windowStart: number;
  readonly windowLength: number;
  /** i32 [n] */
  readonly positions: Pointer;
  /** i64 [n] */
  readonly cells: Pointer;
  /** f16 [windowLength, n]: 0 where a token sees a cell, -infinity elsewhere. */
  readonly mask: Pointer;
}

/** Writes the op vocabulary as a ggml graph. */
export class GgmlGraphBuilder implements GraphBuilder<Pointer> {
  constructor(
    private readonly ggml: Ggml,
    private readonly context: Pointer,
    private readonly graph: Pointer,
    private readonly sizes: Hyperparameters,
    private readonly weights: Weights,
    private readonly kv: KvCache,
    private readonly inputs: GraphInputs,
  ) {}

  rmsNorm(x: Pointer, weight: string): Pointer {
    const normal = this.ggml.rmsNorm(this.context, x, this.sizes.normEpsilon);
    return this.ggml.mul(this.context, normal, this.weights.get(weight));
  }

  linear(x: Pointer, name: string, options?: { bias: boolean }): Pointer {
    const product = this.ggml.mulMat(this.context, this.weights.get(`${name}.weight`), x);
    if (!options?.bias) return product;
    return this.ggml.add(this.context, product, this.weights.get(`${name}.bias`));
  }

  splitHeads(x: Pointer, heads: number): Pointer {
    const { context, inputs, sizes } = this;
    return this.ggml.reshape3d(context, x, sizes.headSize, heads, inputs.tokens);
  }

  rope(x: Pointer): Pointer {
    const { rope } = this.sizes;
    const factors = this.weights.has(ropeFactorsTensor)
      ? this.weights.get(ropeFactorsTensor)
      : null;
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
    const { ggml, context, graph, inputs, sizes } = this;
    const { keys, values } = this.kv.layer(layer);
    const store = (cache: Pointer, heads: Pointer) => {
      const rows = ggml.reshape2d(context, heads, sizes.kvHeads * sizes.headSize, inputs.tokens);
      ggml.expand(graph, ggml.setRows(context, cache, rows, inputs.cells));
    };
    store(keys, k);
    store(values, v);
    const attended = ggml.flashAttention(
      context,
      ggml.permute(context, q, 0, 2, 1, 3),
      this.#window(keys),
      this.#window(values),
      inputs.mask,
      1 / Math.sqrt(sizes.headSize),
      0,
      0,
    );
    return ggml.reshape2d(context, attended, sizes.heads * sizes.headSize, inputs.tokens);
  }

  swiglu(gate: Pointer, up: Pointer): Pointer {
    return this.ggml.swiglu(this.context, gate, up);
  }

  add(a: Pointer, b: Pointer): Pointer {
    return this.ggml.add(this.context, a, b);
  }

  /** The window's cells as [headSize, cells, kvHeads]. */
  #window(cache: Pointer): Pointer {
    const { kv, inputs, sizes } = this;
    return this.ggml.view3d(
      this.context,
      cache,
      sizes.headSize,
      inputs.windowLength,
      sizes.kvHeads,
      kv.rowBytes,
      kv.headBytes,
      inputs.windowStart * kv.rowBytes,
    );
  }
}
