import type { FamilyNumbers } from '../family-numbers.js';
import type { GraphBuilder } from '../graph-builder.js';

/** A gated delta net (arXiv 2412.06464): heads with a matrix each that stands for all tokens so far. */
export interface DeltaNet {
  readonly hiddenSize: number;
  /** Heads of queries and keys; each belongs to as many heads of values. */
  readonly keyHeads: number;
  /** Heads of values. */
  readonly heads: number;
  /** Features of a head. */
  readonly size: number;
  /** Rows that queries, keys and values are convolved over. */
  readonly width: number;
  readonly epsilon: number;
  /** Whether the heads of values that a key head belongs to stand together, or one in every round of key heads. */
  readonly valueHeads: 'together' | 'in rounds';
}

/** @throws ModelError */
export function readDeltaNet(numbers: FamilyNumbers, valueHeads: DeltaNet['valueHeads']): DeltaNet {
  const keyHeads = numbers.of('ssm.group_count');
  const heads = numbers.of('ssm.time_step_rank');
  const size = numbers.of('ssm.state_size');
  if (heads % keyHeads !== 0)
    throw numbers.atOdds(`${keyHeads} heads of keys cannot share ${heads} heads of values`);
  if (heads * size !== numbers.of('ssm.inner_size'))
    throw numbers.atOdds(`${heads} heads of ${size} values are not "ssm.inner_size"`);
  return {
    hiddenSize: numbers.of('embedding_length'),
    keyHeads,
    heads,
    size,
    width: numbers.of('ssm.conv_kernel'),
    epsilon: numbers.of('attention.layer_norm_rms_epsilon'),
    valueHeads,
  };
}

/**
 * From what a norm gave to what is added to it: [hiddenSize, n].
 * @param x [hiddenSize, n]
 * @param layer index
 */
export function deltaNet<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  layer: number,
  net: DeltaNet,
): Value {
  const { hiddenSize, keyHeads, heads, size, width, epsilon } = net;
  const tensor = (name: string) => `blk.${layer}.${name}`;
  const [keys, values] = [keyHeads * size, heads * size];
  const { beta, alpha } = strengths(graph, x, tensor, net);
  const decay = graph.times(
    graph.softplus(graph.plus(alpha, tensor('ssm_dt.bias'))),
    tensor('ssm_a'),
  );
  const { qkv, z } = projections(graph, x, tensor, net);
  const mixed = graph.silu(graph.convolution(layer, qkv, tensor('ssm_conv1d'), width));
  const head = (first: number) => {
    const each = graph.splitHeads(graph.slice(mixed, first, keys), keyHeads);
    const normed = graph.l2Norm(each, epsilon);
    return net.valueHeads === 'together' && heads > keyHeads
      ? graph.repeatHeads(normed, heads / keyHeads)
      : normed;
  };
  const v = graph.splitHeads(graph.slice(mixed, 2 * keys, values), heads);
  const read = graph.deltaRule(layer, head(0), head(keys), v, decay, graph.sigmoid(beta));
  const normed = graph.joinHeads(graph.rmsNorm(read, epsilon, tensor('ssm_norm.weight')));
  return graph.linear(graph.mul(normed, graph.silu(z)), tensor('ssm_out'), hiddenSize);
}

/** Queries, keys and values, and the gate of what is read: by two matrices, or by one, by heads of keys. */
function projections<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  tensor: (name: string) => string,
  { keyHeads, heads, size, valueHeads }: DeltaNet,
): { readonly qkv: Value; readonly z: Value } {
  const [keys, values] = [keyHeads * size, heads * size];
  if (valueHeads === 'in rounds' || !graph.has(tensor('ssm_in.weight')))
    return {
      qkv: graph.linear(x, tensor('attn_qkv'), 2 * keys + values),
      z: graph.linear(x, tensor('attn_gate'), values),
    };
  const each = values / keyHeads;
  const joined = graph.linear(x, tensor('ssm_in'), 2 * (keys + values));
  const all = graph.splitHeads(joined, keyHeads);
  const part = (first: number, count: number) => graph.joinHeads(graph.slice(all, first, count));
  const queriesAndKeys = graph.concat(part(0, size), part(size, size));
  return {
    qkv: graph.concat(queriesAndKeys, part(2 * size, each)),
    z: part(2 * size + each, each),
  };
}

/** What says how strongly each head learns, and forgets: by matrices of their own, or by one, by heads of keys. */
function strengths<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  tensor: (name: string) => string,
  { keyHeads, heads, valueHeads }: DeltaNet,
): { readonly beta: Value; readonly alpha: Value } {
  if (valueHeads === 'in rounds')
    return {
      beta: graph.linear(x, tensor('ssm_beta'), heads),
      alpha: graph.linear(x, tensor('ssm_alpha'), heads),
    };
  const each = heads / keyHeads;
  const both = graph.splitHeads(graph.linear(x, tensor('ssm_ba'), 2 * heads), keyHeads);
  const part = (first: number) => graph.joinHeads(graph.slice(both, first, each));
  return { beta: part(0), alpha: part(each) };
}
