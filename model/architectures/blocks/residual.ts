import type { GraphBuilder } from '../graph-builder.js';

/** The norms around what is added to the residual stream: names of their tensors, after that of the layer. */
export interface NormNames {
  readonly before?: string;
  readonly after?: string;
}

/** The norms of a layer. */
export interface LayerNorms {
  readonly attention: NormNames;
  readonly feedForward: NormNames;
}

/** What most families have (arXiv 2002.04745). */
export const normsBefore: LayerNorms = {
  attention: { before: 'attn_norm' },
  feedForward: { before: 'ffn_norm' },
};

/** The stream itself is attended (arXiv 2501.00656). */
export const normsAfter: LayerNorms = {
  attention: { after: 'post_attention_norm' },
  feedForward: { after: 'post_ffw_norm' },
};

export const normsAround: LayerNorms = {
  attention: { ...normsBefore.attention, ...normsAfter.attention },
  feedForward: { ...normsBefore.feedForward, ...normsAfter.feedForward },
};

/** Before both, where the feed-forward's has the name of one behind attention. */
export const normsBeforeByOtherName: LayerNorms = {
  attention: normsBefore.attention,
  feedForward: { before: 'post_attention_norm' },
};

export interface ResidualOptions {
  readonly layer: number;
  readonly norms: NormNames;
  readonly epsilon: number;
  /** Multiplies what is added. */
  readonly scale?: number;
}

/**
 * hidden + scale · after(compute(before(hidden))): [hiddenSize, n].
 * @param hidden [hiddenSize, n]
 * @param compute what is between the norms
 */
export function addToStream<Value>(
  graph: GraphBuilder<Value>,
  hidden: Value,
  { layer, norms: { before, after }, epsilon, scale }: ResidualOptions,
  compute: (x: Value) => Value,
): Value {
  const normed = (x: Value, name: string | undefined) =>
    name === undefined ? x : graph.rmsNorm(x, epsilon, `blk.${layer}.${name}.weight`);
  const computed = normed(compute(normed(hidden, before)), after);
  return graph.add(hidden, scale === undefined ? computed : graph.scale(computed, scale));
}
