import type {
  AttentionOptions,
  GateKind,
  GraphBuilder,
  Temper,
} from '../../model/architectures/graph-builder.js';
import { headBias } from '../../model/shard-tensors.js';
import type { RopePairing, RopeParameters } from '../../model/architectures/rope.js';
import type { Routing, RoutingOptions } from '../../model/architectures/routing.js';
import { attendPieces, type GroupInputs } from './attention/attend-pieces.js';
import type { AttentionGroup, KvCache } from './attention/kv-cache.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import { chooseExperts, sumOverExperts } from './experts.js';
import type { Products } from './products.js';
import type { StateMemory } from './state/state-memory.js';
import { applyDeltaRule, convolve, type StatePiece } from './state/state-ops.js';
import type { Weights } from './weights.js';

/** GGML_ROPE_TYPE_NORMAL and GGML_ROPE_TYPE_NEOX. */
const ropeMode: Record<RopePairing, number> = { neighbours: 0, halves: 2 };

const f32Bytes = Float32Array.BYTES_PER_ELEMENT;

/** What of a stage its graphs refer to. */
export interface GraphParts {
  readonly weights: Weights;
  readonly products: Products;
  readonly kv: KvCache;
  readonly states: StateMemory;
  /** Name of the head's matrix, without its suffix. */
  readonly headName: string;
}

/** The rows that the head is asked for. */
export interface WantedRows {
  /** The model's last layer. */
  readonly lastLayer: number;
  readonly count: number;
  /** i32 [count] */
  readonly indices: Pointer;
}

/** Input tensors and sizes that a graph's ops refer to. */
export interface GraphInputs {
  /** Of all segments. */
  readonly rows: number;
  /** Of all segments; none where no layer keeps a state. */
  readonly statePieces: readonly StatePiece[];
  /** i32 [rows] */
  readonly positions: Pointer;
  readonly ofGroups: ReadonlyMap<AttentionGroup, GroupInputs>;
  /** Absent where there is no head. */
  readonly wanted?: WantedRows;
}

/** A contiguous tensor [size, rows], or [size, heads, rows]. */
export interface GgmlValue {
  readonly tensor: Pointer;
  readonly size: number;
  /** Undefined where it is not split. */
  readonly heads?: number;
}

/**
 * Writes the op vocabulary as a ggml graph. Behind the attention of the last layer there are only the rows that the head
 * is asked for: what was computed before loses the others where it meets these.
 */
export class GgmlGraphBuilder implements GraphBuilder<GgmlValue> {
  #routed: Pointer | undefined;
  /** Whether nobody wants anything of what comes now. */
  #isUnwanted = false;

  constructor(
    private readonly ggml: Ggml,
    readonly context: Pointer,
    readonly graph: Pointer,
    private readonly parts: GraphParts,
    private readonly inputs: GraphInputs,
  ) {}

  /** The experts that rows were routed to since the last call: i32 [chosen, rows], a view of all in order. */
  takeRouted(): Pointer | undefined {
    const routed = this.#routed;
    this.#routed = undefined;
    return routed;
  }

  has(tensor: string): boolean {
    return this.parts.weights.has(tensor);
  }

  rmsNorm(x: GgmlValue, epsilon: number, weight?: string): GgmlValue {
    const normal = this.ggml.rmsNorm(this.context, x.tensor, epsilon);
    return { ...x, tensor: weight === undefined ? normal : this.#times(normal, weight) };
  }

  layerNorm(x: GgmlValue, epsilon: number, name: string): GgmlValue {
    const normal = this.ggml.norm(this.context, x.tensor, epsilon);
    const scaled = this.#times(normal, `${name}.weight`);
    return { ...x, tensor: this.#plusOptional(scaled, `${name}.bias`) };
  }

  l2Norm(x: GgmlValue, epsilon: number): GgmlValue {
    return { ...x, tensor: this.ggml.l2Norm(this.context, x.tensor, epsilon) };
  }

  linear(x: GgmlValue, name: string, outputs: number): GgmlValue {
    const product = this.#multiply(`${name}.weight`, x);
    const scaled = this.has(`${name}.scale`) ? this.#times(product, `${name}.scale`) : product;
    return { tensor: this.#plusOptional(scaled, `${name}.bias`), size: outputs };
  }

  headLinear(x: GgmlValue, name: string, outputs: number): GgmlValue {
    const { weights, products } = this.parts;
    const matrices = weights.get(`${name}.weight`);
    const product = products.multiplyHeads(this.context, matrices, x.tensor, x.heads ?? 1);
    return { ...x, tensor: product, size: outputs };
  }

  logits(x: GgmlValue): GgmlValue {
    const product = this.#multiply(`${this.parts.headName}.weight`, x);
    return { tensor: this.#plusOptional(product, headBias), size: 0 };
  }

  splitHeads({ tensor, size }: GgmlValue, heads: number): GgmlValue {
    const split = this.ggml.reshape3d(
      this.context,
      tensor,
      size / heads,
      heads,
      this.#rows(tensor, size),
    );
    return { tensor: split, size: size / heads, heads };
  }

  joinHeads({ tensor, size, heads = 1 }: GgmlValue): GgmlValue {
    const joined = size * heads;
    return {
      tensor: this.ggml.reshape2d(this.context, tensor, joined, this.#rows(tensor, joined)),
      size: joined,
    };
  }

  repeatHeads({ tensor, size, heads = 1 }: GgmlValue, times: number): GgmlValue {
    const { ggml, context } = this;
    const rows = this.#rows(tensor, size * heads);
    const each = ggml.reshape4d(context, tensor, size, 1, heads, rows);
    const shape = ggml.reshape4d(
      context,
      ggml.newTensor3d(context, 0, size, times, heads * rows),
      size,
      times,
      heads,
      rows,
    );
    const repeated = ggml.repeat(context, each, shape);
    const all = heads * times;
    return { tensor: ggml.reshape3d(context, repeated, size, all, rows), size, heads: all };
  }

  slice({ tensor, size, heads }: GgmlValue, first: number, count: number): GgmlValue {
    const { ggml, context } = this;
    const rows = this.#rows(tensor, size);
    const rowBytes = size * f32Bytes;
    const part = ggml.contiguous(
      context,
      ggml.view2d(context, tensor, count, rows, rowBytes, first * f32Bytes),
    );
    if (heads === undefined) return { tensor: part, size: count };
    const split = ggml.reshape3d(context, part, count, heads, rows / heads);
    return { tensor: split, size: count, heads };
  }

  concat(a: GgmlValue, b: GgmlValue): GgmlValue {
    const { ggml, context } = this;
    const { heads = 1 } = a;
    const { heads: others = 1 } = b;
    const isShared = others === 1 && heads > 1;
    // A view of the right shape is all that repeat looks at.
    const shape = () =>
      ggml.newTensor3d(context, 0, b.size, heads, this.#rows(a.tensor, a.size * heads));
    const second = isShared
      ? ggml.repeat(context, this.splitHeads(b, 1).tensor, shape())
      : b.tensor;
    return { ...a, tensor: ggml.concat(context, a.tensor, second, 0), size: a.size + b.size };
  }

  rope(x: GgmlValue, rope: RopeParameters): GgmlValue {
    const { weights } = this.parts;
    const { factors } = rope;
    const tensor = this.ggml.rope(
      this.context,
      x.tensor,
      this.inputs.positions,
      factors !== undefined && weights.has(factors) ? weights.get(factors) : null,
      rope.dimensions,
      ropeMode[rope.pairing],
      rope.originalContext,
      rope.base,
      rope.frequencyScale,
      rope.yarnFactor,
      rope.magnitude,
      rope.betaFast,
      rope.betaSlow,
    );
    return { ...x, tensor };
  }

  temper(x: GgmlValue, { scale, length }: Temper): GgmlValue {
    const { ggml, context } = this;
    const { positions, rows } = this.inputs;
    // Half a position more is in the same span, and rounding does not lead out of it.
    const spans = ggml.scaleAndAdd(
      context,
      ggml.cast(context, positions, tensorType.f32),
      1 / length,
      0.5 / length,
    );
    const logs = ggml.log(context, ggml.scaleAndAdd(context, ggml.floor(context, spans), 1, 1));
    const factors = ggml.scaleAndAdd(context, logs, scale, 1);
    const byRow = ggml.reshape3d(context, factors, 1, 1, rows);
    return { ...x, tensor: ggml.mul(context, x.tensor, byRow) };
  }

  attention(
    layer: number,
    q: GgmlValue,
    k: GgmlValue,
    v: GgmlValue,
    { sinks }: AttentionOptions,
  ): GgmlValue {
    const scores = sinks === undefined ? undefined : this.parts.weights.get(sinks);
    return this.#attend(layer, q, k, v.tensor, scores);
  }

  latentAttention(layer: number, q: GgmlValue, k: GgmlValue): GgmlValue {
    return this.#attend(layer, q, k, undefined, undefined);
  }

  convolution(layer: number, x: GgmlValue, name: string): GgmlValue {
    const { weights, states } = this.parts;
    const { statePieces } = this.inputs;
    const weight = weights.get(`${name}.weight`);
    const kept = states.layer(layer);
    const tensor = convolve(this.ggml, this, kept, statePieces, x.tensor, x.size, weight);
    return { ...x, tensor };
  }

  deltaRule(
    layer: number,
    q: GgmlValue,
    k: GgmlValue,
    v: GgmlValue,
    decay: GgmlValue,
    beta: GgmlValue,
  ): GgmlValue {
    const { size, heads = 1 } = v;
    const read = applyDeltaRule(
      this.ggml,
      this,
      this.parts.states.layer(layer),
      this.inputs.statePieces,
      {
        q: q.tensor,
        k: k.tensor,
        v: v.tensor,
        decay: decay.tensor,
        beta: beta.tensor,
        size,
        keyHeads: q.heads ?? 1,
        heads,
      },
    );
    const attended = this.#attended(layer, { tensor: read, size: size * heads });
    return this.splitHeads(attended, heads);
  }

  gated(kind: GateKind, gate: GgmlValue, up: GgmlValue): GgmlValue {
    const { ggml, context } = this;
    const gated = kind === 'silu' ? ggml.swiglu : ggml.geglu;
    return { ...gate, tensor: gated(context, gate.tensor, up.tensor) };
  }

  gatedWithin(gate: GgmlValue, up: GgmlValue, limit: number): GgmlValue {
    const { ggml, context } = this;
    const limited = ggml.clamp(context, ggml.silu(context, gate.tensor), -Infinity, limit);
    const within = ggml.clamp(context, up.tensor, -limit, limit);
    return { ...gate, tensor: ggml.mul(context, limited, within) };
  }

  gatedClamped(gate: GgmlValue, up: GgmlValue, alpha: number, limit: number): GgmlValue {
    const gated = this.ggml.swigluOai(this.context, gate.tensor, up.tensor, alpha, limit);
    return { ...gate, tensor: gated };
  }

  silu(x: GgmlValue): GgmlValue {
    return { ...x, tensor: this.ggml.silu(this.context, x.tensor) };
  }

  sigmoid(x: GgmlValue): GgmlValue {
    return { ...x, tensor: this.ggml.sigmoid(this.context, x.tensor) };
  }

  softplus(x: GgmlValue): GgmlValue {
    return { ...x, tensor: this.ggml.softplus(this.context, x.tensor) };
  }

  times(x: GgmlValue, tensor: string): GgmlValue {
    return { ...x, tensor: this.#times(x.tensor, tensor) };
  }

  plus(x: GgmlValue, tensor: string): GgmlValue {
    const added = this.ggml.add(this.context, x.tensor, this.parts.weights.get(tensor));
    return { ...x, tensor: added };
  }

  add(a: GgmlValue, b: GgmlValue): GgmlValue {
    const [first, second] = this.#sameRows(a, b);
    return { ...a, tensor: this.ggml.add(this.context, first, second) };
  }

  mul(a: GgmlValue, b: GgmlValue): GgmlValue {
    const [first, second] = this.#sameRows(a, b);
    return { ...a, tensor: this.ggml.mul(this.context, first, second) };
  }

  scale(x: GgmlValue, factor: number): GgmlValue {
    return { ...x, tensor: this.ggml.scale(this.context, x.tensor, factor) };
  }

  softcap(x: GgmlValue, cap: number): GgmlValue {
    const { ggml, context } = this;
    const within = ggml.tanh(context, ggml.scale(context, x.tensor, 1 / cap));
    return { ...x, tensor: ggml.scale(context, within, cap) };
  }

  route(logits: GgmlValue, options: RoutingOptions): Routing<GgmlValue> {
    const { selectionBias } = options;
    const bias = selectionBias === undefined ? undefined : this.parts.weights.get(selectionBias);
    const rows = this.#rows(logits.tensor, logits.size);
    const { ids, weights } = chooseExperts(
      this.ggml,
      this.context,
      logits.tensor,
      rows,
      options,
      bias,
    );
    // Devices fuse this chain where it stands together.
    if (!this.#isUnwanted) this.ggml.expand(this.graph, weights);
    this.#routed = ids;
    const size = options.chosen;
    return { options, ids: { tensor: ids, size }, weights: { tensor: weights, size } };
  }

  expertLinear(
    x: GgmlValue,
    name: string,
    { ids, options: { chosen } }: Routing<GgmlValue>,
    outputs: number,
  ): GgmlValue {
    const { ggml, context } = this;
    const { weights } = this.parts;
    const input = x.heads === undefined ? this.splitHeads(x, 1) : x;
    let product = ggml.mulMatId(context, weights.get(`${name}.weight`), input.tensor, ids.tensor);
    if (this.has(`${name}.scale`)) {
      const all = weights.get(`${name}.scale`);
      const experts = ggml.elementCount(all);
      const rows = this.#rows(product, outputs * chosen);
      const scales = ggml.repeat(
        context,
        ggml.reshape3d(context, all, 1, experts, 1),
        ggml.newTensor3d(context, 0, 1, experts, rows),
      );
      product = ggml.mul(context, product, ggml.getRows(context, scales, ids.tensor));
    }
    if (this.has(`${name}.bias`))
      product = ggml.addId(context, product, weights.get(`${name}.bias`), ids.tensor);
    return { tensor: product, size: outputs, heads: chosen };
  }

  combine(
    x: GgmlValue,
    { weights, options: { chosen, weighsInputs = false } }: Routing<GgmlValue>,
  ): GgmlValue {
    const { ggml, context } = this;
    const rows = this.#rows(x.tensor, x.size * chosen);
    const factors = ggml.reshape3d(context, weights.tensor, 1, chosen, rows);
    const weighted = weighsInputs ? x.tensor : ggml.mul(context, x.tensor, factors);
    return { tensor: sumOverExperts(ggml, context, weighted, x.size, chosen, rows), size: x.size };
  }

  /** The rows that the head is asked for, of those of the step; where no others are left, or none is wanted, the same. */
  wantedOf(x: GgmlValue): GgmlValue {
    const { rows, wanted } = this.inputs;
    const isLess = wanted !== undefined && wanted.count > 0 && wanted.count < rows;
    if (!isLess || this.#rowsOf(x) !== rows) return x;
    const { ggml, context } = this;
    const { heads, size } = x;
    const all = ggml.reshape2d(context, x.tensor, size * (heads ?? 1), rows);
    const some = { tensor: ggml.getRows(context, all, wanted.indices), size: size * (heads ?? 1) };
    return heads === undefined ? some : this.splitHeads(some, heads);
  }

  #attend(
    layer: number,
    q: GgmlValue,
    k: GgmlValue,
    values: Pointer | undefined,
    sinks: Pointer | undefined,
  ): GgmlValue {
    const { group, cache } = this.parts.kv.layer(layer);
    const inputs = this.inputs.ofGroups.get(group)!;
    const rows = { queries: q.tensor, keys: k.tensor, values, count: this.inputs.rows };
    const tensor = attendPieces(this.ggml, this, group, cache, inputs, rows, sinks);
    const { heads, valueSize } = group.attention;
    return this.#attended(layer, { tensor, size: heads * valueSize });
  }

  /** What attention gave, or what stands in its place: everything that a layer keeps of its rows is kept by now. */
  #attended(layer: number, x: GgmlValue): GgmlValue {
    const { wanted } = this.inputs;
    if (layer !== wanted?.lastLayer) return x;
    this.#isUnwanted = wanted.count === 0;
    return this.wantedOf(x);
  }

  #sameRows(a: GgmlValue, b: GgmlValue): readonly [Pointer, Pointer] {
    const isSame = this.#rowsOf(a) === this.#rowsOf(b);
    const [first, second] = isSame ? [a, b] : [this.wantedOf(a), this.wantedOf(b)];
    return [first.tensor, second.tensor];
  }

  #rowsOf({ tensor, size, heads = 1 }: GgmlValue): number {
    return this.#rows(tensor, size * heads);
  }

  #multiply(matrix: string, { tensor }: GgmlValue): Pointer {
    const { weights, products } = this.parts;
    return products.multiply(this.context, weights.get(matrix), tensor);
  }

  #times(x: Pointer, name: string): Pointer {
    return this.ggml.mul(this.context, x, this.parts.weights.get(name));
  }

  #plusOptional(x: Pointer, name: string): Pointer {
    return this.has(name) ? this.ggml.add(this.context, x, this.parts.weights.get(name)) : x;
  }

  #rows(tensor: Pointer, size: number): number {
    return this.ggml.elementCount(tensor) / size;
  }
}
