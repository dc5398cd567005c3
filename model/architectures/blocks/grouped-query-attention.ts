import type { FamilyNumbers } from '../family-numbers.js';
import type { AttentionOptions, GraphBuilder, Temper } from '../graph-builder.js';
import type { RopeParameters } from '../rope.js';

/** Heads of queries in groups, each group with one head of keys and one of values (arXiv 2305.13245). */
export interface HeadSizes {
  readonly heads: number;
  /** Divides `heads`. */
  readonly kvHeads: number;
  readonly keySize: number;
  readonly valueSize: number;
}

/** Heads that are the same in all layers. @throws ModelError */
export function readHeads(numbers: FamilyNumbers): HeadSizes {
  const heads = numbers.of('attention.head_count');
  return headSizes(numbers, heads, numbers.of('attention.head_count_kv', heads));
}

/** Heads of every layer, of which there may be more in some than in others. @throws ModelError */
export function readHeadsOfLayers(numbers: FamilyNumbers, layers: number): readonly HeadSizes[] {
  const kvHeads = numbers.ofLayers('attention.head_count_kv', layers);
  return numbers
    .ofLayers('attention.head_count', layers)
    .map((heads, layer) => headSizes(numbers, heads, kvHeads[layer]!));
}

/** @throws ModelError when heads of queries cannot share so many of keys and values */
export function headSizes(numbers: FamilyNumbers, heads: number, kvHeads: number): HeadSizes {
  if (heads % kvHeads !== 0)
    throw numbers.atOdds(`${heads} heads cannot share ${kvHeads} heads of keys and values`);
  const keySize = numbers.of('attention.key_length', numbers.of('embedding_length') / heads);
  return { heads, kvHeads, keySize, valueSize: numbers.of('attention.value_length', keySize) };
}

/**
 * One gate for every feature: `attn_q` has every head's query and, after it, its gates. Or one for every head, in layers
 * that have `attn_gate`.
 */
export type HeadGates = 'features' | 'heads, if any';

/** How a layer attends. */
export interface HeadAttention extends HeadSizes {
  /** Absent where positions are not told. */
  readonly rope?: RopeParameters | undefined;
  /** Whether every head of q and k is normalised, before or after rotation, or all heads together before it. */
  readonly norms?: 'each head' | 'each head, if any' | 'each head, rotated' | 'all heads';
  readonly epsilon: number;
  readonly temper?: Temper;
  /** Sigmoid gates of what heads give. */
  readonly gates?: HeadGates;
  /** Whether there are scores of a key that nothing is attended to by. */
  readonly sinks?: 'always' | 'if any';
  /** Default: scores times 1 / √keySize. */
  readonly options?: Partial<AttentionOptions>;
  /** Whether queries are scaled rather than scores: where they are kept with few bits, that rounds differently. */
  readonly scalesQueries?: boolean;
}

/**
 * From what a norm gave to what the heads attended to, before `attn_output`: [heads · valueSize, n].
 * @param x [hiddenSize, n]
 * @param layer index
 */
export function attend<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  layer: number,
  attention: HeadAttention,
): Value {
  const { heads, kvHeads, keySize, rope, norms, temper, epsilon, gates } = attention;
  const tensor = (name: string) => `blk.${layer}.${name}`;
  let [q, k, v] = projected(graph, x, tensor, attention);
  const normed = (projection: Value, name: string) =>
    graph.rmsNorm(projection, epsilon, tensor(`${name}.weight`));
  if (norms === 'all heads') [q, k] = [normed(q, 'attn_q_norm'), normed(k, 'attn_k_norm')];
  [q, k, v] = [
    graph.splitHeads(q, heads),
    graph.splitHeads(k, kvHeads),
    graph.splitHeads(v, kvHeads),
  ];
  const gate = gates === 'features' ? graph.joinHeads(graph.slice(q, keySize, keySize)) : undefined;
  if (gates === 'features') q = graph.slice(q, 0, keySize);
  const isEach =
    norms === 'each head' ||
    (norms === 'each head, if any' && graph.has(tensor('attn_q_norm.weight')));
  if (isEach) [q, k] = [normed(q, 'attn_q_norm'), normed(k, 'attn_k_norm')];
  if (rope) [q, k] = [graph.rope(q, rope), graph.rope(k, rope)];
  if (norms === 'each head, rotated') [q, k] = [normed(q, 'attn_q_norm'), normed(k, 'attn_k_norm')];
  if (temper) q = graph.temper(q, temper);
  const sinks = tensor('attn_sinks.weight');
  const hasSinks = attention.sinks === 'always' || (attention.sinks && graph.has(sinks));
  const options = {
    scale: 1 / Math.sqrt(keySize),
    ...(hasSinks ? { sinks } : {}),
    ...attention.options,
  };
  const attended = attention.scalesQueries
    ? graph.attention(layer, graph.scale(q, options.scale), k, v, { ...options, scale: 1 })
    : graph.attention(layer, q, k, v, options);
  if (gates === 'heads, if any' && graph.has(tensor('attn_gate.weight')))
    return gatedHeads(graph, attended, graph.linear(x, tensor('attn_gate'), heads), heads);
  return gate === undefined ? attended : graph.mul(attended, graph.sigmoid(gate));
}

/** @param attended [heads · valueSize, n] @param gates [heads, n] */
function gatedHeads<Value>(
  graph: GraphBuilder<Value>,
  attended: Value,
  gates: Value,
  heads: number,
): Value {
  const shares = graph.splitHeads(graph.sigmoid(gates), heads);
  return graph.joinHeads(graph.mul(graph.splitHeads(attended, heads), shares));
}

/** Queries, keys and values, by matrices of their own or by one for all. */
function projected<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  tensor: (name: string) => string,
  { heads, kvHeads, keySize, valueSize, gates }: HeadAttention,
): [q: Value, k: Value, v: Value] {
  const queries = heads * keySize * (gates === 'features' ? 2 : 1);
  const [keys, values] = [kvHeads * keySize, kvHeads * valueSize];
  if (!graph.has(tensor('attn_qkv.weight')))
    return [
      graph.linear(x, tensor('attn_q'), queries),
      graph.linear(x, tensor('attn_k'), keys),
      graph.linear(x, tensor('attn_v'), values),
    ];
  const joined = graph.linear(x, tensor('attn_qkv'), queries + keys + values);
  return [
    graph.slice(joined, 0, queries),
    graph.slice(joined, queries, keys),
    graph.slice(joined, queries + keys, values),
  ];
}
