/**
 * The op vocabulary that model families are written in and engines implement. A value is an f32 tensor of
 * [features, n] (or [headSize, heads, n] after `splitHeads`), n being the tokens of the batch.
 */
export interface GraphBuilder<Value> {
  /** Normalises along the features by their root mean square, then scales by the weight (arXiv 1910.07467). */
  rmsNorm(x: Value, weight: string): Value;
  /** `name.weight` · x, plus `name.bias` where the family has one. */
  linear(x: Value, name: string, options?: { bias: boolean }): Value;
  /** [heads · headSize, n] → [headSize, heads, n]. */
  splitHeads(x: Value, heads: number): Value;
  /** Rotary position embedding of every head (arXiv 2104.09864), as the hyperparameters say. */
  rope(x: Value): Value;
  /** Writes k and v to the batch's cells, then attends from q to the cells that each token sees: [heads · headSize, n]. */
  attention(layer: number, q: Value, k: Value, v: Value): Value;
  /** silu(gate) · up (arXiv 2002.05202). */
  swiglu(gate: Value, up: Value): Value;
  add(a: Value, b: Value): Value;
}
