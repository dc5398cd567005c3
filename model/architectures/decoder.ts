import type { GraphBuilder } from './graph-builder.js';
import type { Hyperparameters } from './hyperparameters.js';

/** What differs between the families that share the pre-norm decoder layer with a gated feed-forward. */
export interface DecoderVariant {
  /** Whether the q, k and v projections have a bias. */
  readonly attentionBias: boolean;
  /** Whether every head of q and k is normalised before rotation. */
  readonly headNorms: boolean;
}

/** x + attention(norm(x)), then x + feedForward(norm(x)). */
export function decoderLayer<Value>(
  graph: GraphBuilder<Value>,
  sizes: Hyperparameters,
  index: number,
  hidden: Value,
  variant: DecoderVariant,
): Value {
  const tensor = (name: string) => `blk.${index}.${name}`;
  const bias = { bias: variant.attentionBias };

  const x = graph.rmsNorm(hidden, tensor('attn_norm.weight'));
  let q = graph.splitHeads(graph.linear(x, tensor('attn_q'), bias), sizes.heads);
  let k = graph.splitHeads(graph.linear(x, tensor('attn_k'), bias), sizes.kvHeads);
  const v = graph.splitHeads(graph.linear(x, tensor('attn_v'), bias), sizes.kvHeads);
  if (variant.headNorms) {
    q = graph.rmsNorm(q, tensor('attn_q_norm.weight'));
    k = graph.rmsNorm(k, tensor('attn_k_norm.weight'));
  }
  const attended = graph.attention(index, graph.rope(q), graph.rope(k), v);
  const middle = graph.add(hidden, graph.linear(attended, tensor('attn_output')));

  const y = graph.rmsNorm(middle, tensor('ffn_norm.weight'));
  const gated = graph.swiglu(
    graph.linear(y, tensor('ffn_gate')),
    graph.linear(y, tensor('ffn_up')),
  );
  return graph.add(middle, graph.linear(gated, tensor('ffn_down')));
}
