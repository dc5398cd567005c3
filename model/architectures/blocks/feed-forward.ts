import type { GateKind, GraphBuilder } from '../graph-builder.js';

/** Which tensors a gated feed-forward has: `ffn_gate`, `ffn_up` and `ffn_down`, or those of a shared expert. */
const names = {
  dense: ['ffn_gate', 'ffn_up', 'ffn_down'],
  shared: ['ffn_gate_shexp', 'ffn_up_shexp', 'ffn_down_shexp'],
} as const;

export interface FeedForwardOptions {
  /** Default: SiLU. */
  readonly kind?: GateKind;
  readonly which?: keyof typeof names;
  /** Whether the up matrix has the outputs of the gate, then those of up. */
  readonly isJoined?: boolean;
  /** How far the product may go (`GraphBuilder.gatedWithin`). */
  readonly limit?: number | undefined;
}

/**
 * down · (kind(gate · x) · (up · x)): [hiddenSize, n] (arXiv 2002.05202).
 * @param x [hiddenSize, n]
 * @param size features between the two products
 */
export function feedForward<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  layer: number,
  { hiddenSize, size }: { readonly hiddenSize: number; readonly size: number },
  { kind = 'silu', which = 'dense', isJoined = false, limit }: FeedForwardOptions = {},
): Value {
  const [gateName, upName, downName] = names[which].map((name) => `blk.${layer}.${name}`) as [
    string,
    string,
    string,
  ];
  const [gate, up] = isJoined
    ? halves(graph, graph.linear(x, upName, 2 * size), size)
    : [graph.linear(x, gateName, size), graph.linear(x, upName, size)];
  return graph.linear(gatedProduct(graph, kind, gate, up, limit), downName, hiddenSize);
}

/** kind(gate) · up, where it goes as far as it does, or no further than a limit. */
export function gatedProduct<Value>(
  graph: GraphBuilder<Value>,
  kind: GateKind,
  gate: Value,
  up: Value,
  limit: number | undefined,
): Value {
  return limit === undefined ? graph.gated(kind, gate, up) : graph.gatedWithin(gate, up, limit);
}

function halves<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  size: number,
): [first: Value, second: Value] {
  return [graph.slice(x, 0, size), graph.slice(x, size, size)];
}
