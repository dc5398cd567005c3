import type { Routing, RoutingOptions } from './routing.js';
import type { RopeParameters } from './rope.js';

/** How queries grow with their position, so that attention stays sharp in long texts (arXiv 2501.19399). */
export interface Temper {
  readonly scale: number;
  /** Positions in which it stays the same. */
  readonly length: number;
}

/** How queries meet keys and values. */
export interface AttentionOptions {
  /** Multiplies scores. */
  readonly scale: number;
  /** Cells that a token sees, the last being its own; absent where it sees the whole text. */
  readonly window?: number;
  /** Scores are kept within ± this: cap · tanh(score / cap). */
  readonly softcap?: number;
  /** Name of f32 [heads]: scores of a key that nothing is attended to by (arXiv 2309.17453). */
  readonly sinks?: string;
}

/** What a product's gate goes through: SiLU, or GELU by its tanh approximation (arXiv 2002.05202). */
export type GateKind = 'silu' | 'gelu';

/**
 * The op vocabulary that model families are written in and engines implement. A value is an f32 tensor of
 * [features, n], n being the rows of the step, or [features, heads, n] after `splitHeads`: ops without weights, norms and
 * rotation then work on every head. An engine may leave out rows of which nobody wants logits from what the last layer's
 * attention gives, or its delta rule, and from all that is computed with that.
 */
export interface GraphBuilder<Value> {
  /** Whether the model has a tensor: what a file may lack is asked for first. */
  has(tensor: string): boolean;
  /** Normalises by the root mean square, then scales by the weight, if any (arXiv 1910.07467). */
  rmsNorm(x: Value, epsilon: number, weight?: string): Value;
  /** Normalises to mean 0 and deviation 1, scales by `name.weight`, and adds `name.bias` where there is one (arXiv 1607.06450). */
  layerNorm(x: Value, epsilon: number, name: string): Value;
  /** Divides by the Euclidean norm, which is at least epsilon. */
  l2Norm(x: Value, epsilon: number): Value;
  /** `name.weight` · x, times `name.scale` and plus `name.bias` where the model has them: [outputs, n]. */
  linear(x: Value, name: string, outputs: number): Value;
  /** Every head times a matrix of its own: `name.weight` [features, outputs, heads] · [features, heads, n] → [outputs, heads, n]. */
  headLinear(x: Value, name: string, outputs: number): Value;
  /** The head's product: [vocabulary, n]. */
  logits(x: Value): Value;
  /** [heads · features, n] → [features, heads, n]. */
  splitHeads(x: Value, heads: number): Value;
  /** [features, heads, n] → [heads · features, n]. */
  joinHeads(x: Value): Value;
  /** Every head so many times in a row: [features, heads, n] → [features, heads · times, n]. */
  repeatHeads(x: Value, times: number): Value;
  /** Features [first, first + count) of every row, or head. */
  slice(x: Value, first: number, count: number): Value;
  /** The features of `a`, then those of `b`; where `b` has one head and `a` several, each gets it. */
  concat(a: Value, b: Value): Value;
  /** Rotary position embedding of every head (arXiv 2104.09864). */
  rope(x: Value, rope: RopeParameters): Value;
  /** Multiplies by 1 + scale · ln(1 + ⌊position / length⌋). @param x of heads */
  temper(x: Value, temper: Temper): Value;
  /** Writes k and v to the rows' cells, then attends from q to the cells that each row sees: [heads · valueSize, n]. */
  attention(layer: number, q: Value, k: Value, v: Value, options: AttentionOptions): Value;
  /** The same where the first `valueSize` features of keys, of which there is one head, are the values (arXiv 2405.04434). */
  latentAttention(layer: number, q: Value, k: Value, valueSize: number, scale: number): Value;
  /** kind(gate) · up. */
  gated(kind: GateKind, gate: Value, up: Value): Value;
  /** Step 3.5's: silu(gate) · up, the first at most `limit` and up within ±limit. */
  gatedWithin(gate: Value, up: Value, limit: number): Value;
  /** gpt-oss's: gate · sigmoid(alpha · gate) · (up + 1), gate at most `limit` and up within ±limit. */
  gatedClamped(gate: Value, up: Value, alpha: number, limit: number): Value;
  /**
   * Convolves every feature over the `width` rows of the text that end with each row: `name.weight` f32
   * [width, features]. Rows before the step's are kept in the layer's state.
   */
  convolution(layer: number, x: Value, name: string, width: number): Value;
  /**
   * The gated delta rule (arXiv 2412.06464): every head's state fades by e^decay, its value for k becomes v by the share
   * beta, and q reads it, scaled by 1 / √size. Value head i belongs to key head i modulo their number.
   * @param q [size, keyHeads, n]
   * @param k as q
   * @param v [size, heads, n]
   * @param decay [heads, n]
   * @param beta [heads, n]
   * @returns [size, heads, n]
   */
  deltaRule(layer: number, q: Value, k: Value, v: Value, decay: Value, beta: Value): Value;
  silu(x: Value): Value;
  sigmoid(x: Value): Value;
  /** ln(1 + e^x). */
  softplus(x: Value): Value;
  add(a: Value, b: Value): Value;
  /** By element; `b` may have one feature for all of a's. */
  mul(a: Value, b: Value): Value;
  /** Times f32 [features]. @param tensor its name */
  times(x: Value, tensor: string): Value;
  /** Plus f32 [features]. @param tensor its name */
  plus(x: Value, tensor: string): Value;
  scale(x: Value, factor: number): Value;
  /** cap · tanh(x / cap). */
  softcap(x: Value, cap: number): Value;
  /** The experts that every row goes through (arXiv 1701.06538). @param logits [experts, n] */
  route(logits: Value, options: RoutingOptions): Routing<Value>;
  /**
   * The product with the matrices of the chosen experts, `name.weight` [features, outputs, experts], times `name.scale`
   * and plus `name.bias` where the model has them.
   * @param x [features, n], or [features, chosen, n] with what every expert gets
   * @returns [outputs, chosen, n]
   */
  expertLinear(x: Value, name: string, routing: Routing<Value>, outputs: number): Value;
  /** The sum over experts, by their weights: [features, chosen, n] → [features, n]. */
  combine(x: Value, routing: Routing<Value>): Value;
}
