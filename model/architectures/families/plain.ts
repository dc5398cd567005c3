import { outputNormTensor } from '../../shard-tensors.js';
import {
  attend,
  readHeads,
  type HeadAttention,
  type HeadSizes,
} from '../blocks/grouped-query-attention.js';
import {
  expertFeedForward,
  hasExperts,
  type ExpertOptions,
  type ProductLimits,
} from '../blocks/experts.js';
import { feedForward, type FeedForwardOptions } from '../blocks/feed-forward.js';
import { addToStream, normsBefore, type LayerNorms } from '../blocks/residual.js';
import { readSizes, type Decoder, type Family } from '../family.js';
import type { FamilyNumbers } from '../family-numbers.js';
import type { GraphBuilder } from '../graph-builder.js';
import { readRope, type RopeFactors, type RopePairing } from '../rope.js';

/** Between a layer's second norm and the sum: [hiddenSize, n] in, the same out. */
export type LayerFeedForward = <Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  layer: number,
) => Value;

/** What differs between the families whose layers attend, then go through a gated feed-forward. */
export interface PlainVariant {
  readonly pairing: RopePairing;
  /** Which tensors divide frequencies of rotary embedding, in families whose models may have them. */
  readonly factors?: (numbers: FamilyNumbers) => RopeFactors;
  /** Heads of every layer; default: the same in all. */
  readonly heads?: readonly HeadSizes[];
  /** Norms of q and k. */
  readonly norms?: NonNullable<HeadAttention['norms']>;
  /** Norms around attention and feed-forward; default: before both. */
  readonly layerNorms?: LayerNorms;
  /** How layer `index` attends, where that is not how all do. */
  readonly attends?: (attention: HeadAttention, index: number) => HeadAttention;
  readonly feedForward?: FeedForwardOptions;
  /** What layers behind the leading dense ones have instead. */
  readonly experts?: ExpertOptions;
  /** How far products of feed-forwards may go in layer `index`; default: as far as they do. */
  readonly limits?: (index: number) => ProductLimits;
  readonly scales?: Scales;
  readonly logits?: LogitOptions;
}

/** What multiplies the embedding, and what every layer adds to it: all of it, or what attention gives. */
export interface Scales {
  readonly embedding?: number;
  readonly residual?: number;
  /** Of what attention gives. */
  readonly attended?: number;
}

/** What becomes of the head's product. */
export interface LogitOptions {
  readonly scale?: number;
  /** Logits are kept within ± this. */
  readonly softcap?: number;
}

/** x + attention(norm(x)), then x + feedForward(norm(x)), and what of it differs. */
export function openPlain(numbers: FamilyNumbers, variant: PlainVariant): Decoder {
  const { norms, layerNorms = normsBefore, attends, scales, logits } = variant;
  const sizes = readSizes(numbers);
  const { hiddenSize } = sizes;
  const { heads = uniform(readHeads(numbers), sizes.layers) } = variant;
  const epsilon = numbers.of('attention.layer_norm_rms_epsilon');
  const feed = layerFeedForward(numbers, variant);
  const rope = {
    ...readRope(numbers, heads[0]!.keySize, variant.pairing),
    ...variant.factors?.(numbers),
  };
  const ofLayers = heads.map((layerHeads, index): HeadAttention => {
    const attention = { ...layerHeads, rope, epsilon, ...(norms ? { norms } : {}) };
    return attends ? attends(attention, index) : attention;
  });
  return {
    ...sizes,
    layer: (graph, layer, hidden) => {
      const scale = scales?.residual;
      const options = { layer, epsilon, ...(scale === undefined ? {} : { scale }) };
      const stream =
        layer === 0 && scales?.embedding !== undefined
          ? graph.scale(hidden, scales.embedding)
          : hidden;
      const middle = addToStream(
        graph,
        stream,
        { ...options, norms: layerNorms.attention },
        (x) => {
          const attended = attend(graph, x, layer, ofLayers[layer]!);
          const given = graph.linear(attended, `blk.${layer}.attn_output`, hiddenSize);
          return scales?.attended === undefined ? given : graph.scale(given, scales.attended);
        },
      );
      return addToStream(graph, middle, { ...options, norms: layerNorms.feedForward }, (x) =>
        feed(graph, x, layer),
      );
    },
    head: (graph, hidden) => normedLogits(graph, hidden, epsilon, logits),
  };
}

/** Experts where a layer has them, otherwise a feed-forward that all rows go through. @throws ModelError */
export function layerFeedForward(
  numbers: FamilyNumbers,
  {
    experts,
    feedForward: options,
    limits,
  }: Pick<PlainVariant, 'experts' | 'feedForward' | 'limits'>,
): LayerFeedForward {
  const hiddenSize = numbers.of('embedding_length');
  const hasDense = !experts || experts.leadingDense > 0 || experts.isOptional;
  const size = hasDense ? numbers.of('feed_forward_length') : 0;
  return (graph, x, layer) => {
    const limit = limits?.(layer);
    return experts && hasExperts(graph, layer, experts)
      ? expertFeedForward(graph, x, layer, hiddenSize, { ...experts, ...limit })
      : feedForward(
          graph,
          x,
          layer,
          { hiddenSize, size },
          { ...options, limit: limit?.sharedLimit },
        );
  };
}

function uniform(heads: HeadSizes, layers: number): HeadSizes[] {
  return Array.from({ length: layers }, () => heads);
}

/** The head of most families: `output_norm`, then the product. */
export function normedLogits<Value>(
  graph: GraphBuilder<Value>,
  hidden: Value,
  epsilon: number,
  options: LogitOptions = {},
): Value {
  const logits = graph.logits(graph.rmsNorm(hidden, epsilon, outputNormTensor));
  return adjusted(graph, logits, options);
}

/** Logits scaled, then capped. */
export function adjusted<Value>(
  graph: GraphBuilder<Value>,
  logits: Value,
  { scale, softcap }: LogitOptions,
): Value {
  const scaled = scale === undefined ? logits : graph.scale(logits, scale);
  return softcap === undefined ? scaled : graph.softcap(scaled, softcap);
}

/**
 * @param name value of `general.architecture`
 * @param variant or what makes it of a model's numbers
 * @param usually optional tensors that its models usually have
 */
export function plainFamily(
  name: string,
  variant: PlainVariant | ((numbers: FamilyNumbers) => PlainVariant),
  usually?: RegExp,
): Family {
  return {
    name,
    ...(usually ? { usually } : {}),
    open: (numbers) =>
      openPlain(numbers, typeof variant === 'function' ? variant(numbers) : variant),
  };
}
