import type { FamilyNumbers } from '../family-numbers.js';
import type { GraphBuilder } from '../graph-builder.js';
import type { Gating, RoutingOptions } from '../routing.js';
import { feedForward, gatedProduct } from './feed-forward.js';

/** What the product of an expert goes through: SiLU of the gate, or gpt-oss's gate that is kept within limits. */
export type ExpertActivation = 'silu' | 'clamped';

/** How far products may go (`GraphBuilder.gatedWithin`); undefined where they go as far as they do. */
export interface ProductLimits {
  /** Of the experts that rows choose. */
  readonly limit?: number | undefined;
  /** Of what all rows go through. */
  readonly sharedLimit?: number | undefined;
}

/** A feed-forward of experts, and where in a model there is none. */
export interface ExpertOptions extends ProductLimits {
  readonly routing: RoutingOptions;
  /** Features between the two products of an expert. */
  readonly size: number;
  /** Default: SiLU. */
  readonly activation?: ExpertActivation;
  /** The expert that all rows go through. */
  readonly shared?: SharedExpert;
  /** Layers before the first that has experts. */
  readonly leadingDense: number;
  /** Whether layers behind these have experts only where there is a router. */
  readonly isOptional?: boolean;
}

export interface SharedExpert {
  readonly size: number;
  /** Whether a row decides how much of it there is. */
  readonly isGated?: boolean;
}

/** What a family has, where its files do not say. */
export interface ExpertDefaults {
  readonly gating: Gating;
  /** Whether the weights of the chosen are made to have the sum 1. */
  readonly normalise: boolean;
  /** What files of the family may say: how experts are scored, or all of how they are weighted. */
  readonly said?: 'gating' | 'all';
  /** Features of an expert; default: `expert_feed_forward_length`. */
  readonly size?: number;
  readonly shared?: SharedExpert;
}

const gatings: readonly (Gating | undefined)[] = [
  undefined,
  'softmax',
  'sigmoid',
  'softmax of chosen',
];

/** @throws ModelError when numbers are at odds, or experts are chosen as the family does not */
export function readExperts(
  numbers: FamilyNumbers,
  { gating, normalise, said, size, shared }: ExpertDefaults,
): ExpertOptions {
  const experts = numbers.of('expert_count');
  const chosen = numbers.of('expert_used_count');
  if (chosen < 1 || chosen > experts)
    throw numbers.atOdds(`${chosen} of ${experts} experts cannot be chosen`);
  const saidGating = gatings[numbers.of('expert_gating_func', 0)] ?? gating;
  if (said === undefined && saidGating !== gating)
    throw numbers.unsupported('expert_gating_func', `is ${saidGating}, supported is ${gating}`);
  const saidNormalise = numbers.flag('expert_weights_norm', normalise);
  if (said !== 'all' && saidNormalise !== normalise)
    throw numbers.unsupported('expert_weights_norm', `is ${saidNormalise}, not ${normalise}`);
  // A scale of 0 is that of a model without it.
  const scale = numbers.of('expert_weights_scale', 0) || 1;
  if (said !== 'all' && scale !== 1)
    throw numbers.unsupported('expert_weights_scale', `is ${scale}, supported is 1`);
  const groups = readGroups(numbers, experts, chosen);
  return {
    routing: {
      gating: saidGating,
      experts,
      chosen,
      normalise: saidNormalise,
      scale,
      ...(groups ? { groups } : {}),
    },
    size: size ?? numbers.of('expert_feed_forward_length'),
    leadingDense: numbers.of('leading_dense_block_count', 0),
    ...(shared && shared.size > 0 ? { shared } : {}),
  };
}

function readGroups(
  numbers: FamilyNumbers,
  experts: number,
  chosenExperts: number,
): RoutingOptions['groups'] {
  const count = numbers.of('expert_group_count', 0);
  if (count <= 1) return undefined;
  const chosen = numbers.of('expert_group_used_count');
  const each = experts / count;
  const isSound =
    Number.isInteger(each) &&
    each >= 2 &&
    chosen >= 1 &&
    chosen <= count &&
    chosenExperts <= chosen * each;
  if (!isSound)
    throw numbers.atOdds(
      `${chosenExperts} of ${experts} experts cannot be chosen from ${chosen} of ${count} groups`,
    );
  return { count, chosen };
}

/**
 * The sum of what the chosen experts give, by their weights, and of the shared expert: [hiddenSize, n] (arXiv 1701.06538).
 * @param x [hiddenSize, n]
 */
export function expertFeedForward<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  layer: number,
  hiddenSize: number,
  { routing: options, size, activation = 'silu', shared, limit, sharedLimit }: ExpertOptions,
): Value {
  const tensor = (name: string) => `blk.${layer}.${name}`;
  const selectionBias = tensor('exp_probs_b.bias');
  const routing = graph.route(graph.linear(x, tensor('ffn_gate_inp'), options.experts), {
    ...options,
    ...(graph.has(selectionBias) ? { selectionBias } : {}),
  });
  const gate = graph.expertLinear(x, tensor('ffn_gate_exps'), routing, size);
  const up = graph.expertLinear(x, tensor('ffn_up_exps'), routing, size);
  const product =
    activation === 'silu'
      ? gatedProduct(graph, 'silu', gate, up, limit)
      : graph.gatedClamped(gate, up, clampedAlpha, clampedLimit);
  const down = graph.expertLinear(product, tensor('ffn_down_exps'), routing, hiddenSize);
  const routed = graph.combine(down, routing);
  if (!shared) return routed;
  const all = feedForward(
    graph,
    x,
    layer,
    { hiddenSize, size: shared.size },
    { which: 'shared', limit: sharedLimit },
  );
  if (!shared.isGated) return graph.add(routed, all);
  const share = graph.sigmoid(graph.linear(x, tensor('ffn_gate_inp_shexp'), 1));
  return graph.add(routed, graph.mul(all, share));
}

/** Whether a layer has experts rather than a feed-forward that all rows go through. */
export function hasExperts<Value>(
  graph: GraphBuilder<Value>,
  layer: number,
  { leadingDense, isOptional = false }: ExpertOptions,
): boolean {
  if (layer < leadingDense) return false;
  return !isOptional || graph.has(`blk.${layer}.ffn_gate_inp.weight`);
}

/** gpt-oss's. */
const clampedAlpha = 1.702;
const clampedLimit = 7;
