import { outputNormTensor } from '../../shard-tensors.js';
import { attend, readHeads, type HeadAttention } from '../blocks/grouped-query-attention.js';
import { expertFeedForward, type ExpertOptions } from '../blocks/experts.js';
import { feedForward, type FeedForwardOptions } from '../blocks/feed-forward.js';
import { addToStream, normsBefore, type LayerNorms } from '../blocks/residual.js';
import { readSizes, type Decoder, type Family } from '../family.js';
import type { FamilyNumbers } from '../family-numbers.js';
import type { GraphBuilder } from '../graph-builder.js';
import { readRope, type RopeFactors, type RopePairing } from '../rope.js';

/** What differs between the families whose layers attend, then go through a gated feed-forward. */
export interface PlainVariant {
  readonly pairing: RopePairing;
  /** Which tensors divide frequencies of rotary embedding, in families whose models may have them. */
  readonly factors?: (numbers: FamilyNumbers) => RopeFactors;
  /** Norms of q and k. */
  readonly norms?: NonNullable<HeadAttention['norms']>;
  /** Norms around attention and feed-forward; default: before both. */
  readonly layerNorms?: LayerNorms;
  /** How layer `index` attends, where that is not how all do. */
  readonly attends?: (attention: HeadAttention, index: number) => HeadAttention;
  readonly feedForward?: FeedForwardOptions;
  /** What layers behind the leading dense ones have instead. */
  readonly experts?: ExpertOptions;
  readonly scales?: Scales;
  readonly logits?: LogitOptions;
}

/** What multiplies the embedding, and what every layer adds to it. */
export interface Scales {
  readonly embedding?: number;
  readonly residual?: number;
}

/** What becomes of the head's product. */
export interface LogitOptions {
  readonly scale?: number;
  /** Logits are kept within ± this. */
  readonly softcap?: number;
}

/** x + attention(norm(x)), then x + feedForward(norm(x)), and what of it differs. */
export function openPlain(numbers: FamilyNumbers, variant: PlainVariant): Decoder {
  const { norms, layerNorms = normsBefore, attends, experts, scales, logits } = variant;
  const sizes = readSizes(numbers);
  const { hiddenSize } = sizes;
  const heads = readHeads(numbers);
  const epsilon = numbers.of('attention.layer_norm_rms_epsilon');
  const hasDense = !experts || experts.leadingDense > 0;
  const size = hasDense ? numbers.of('feed_forward_length') : 0;
  const attention: HeadAttention = {
    ...heads,
    rope: {
      ...readRope(numbers, heads.keySize, variant.pairing),
      ...variant.factors?.(numbers),
    },
    epsilon,
    ...(norms ? { norms } : {}),
  };
  const ofLayers = Array.from({ length: sizes.layers }, (_, index) =>
    attends ? attends(attention, index) : attention,
  );
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
          return graph.linear(attended, `blk.${layer}.attn_output`, hiddenSize);
        },
      );
      return addToStream(graph, middle, { ...options, norms: layerNorms.feedForward }, (x) =>
        experts && layer >= experts.leadingDense
          ? expertFeedForward(graph, x, layer, hiddenSize, experts)
          : feedForward(graph, x, layer, { hiddenSize, size }, variant.feedForward),
      );
    },
    head: (graph, hidden) => normedLogits(graph, hidden, epsilon, logits),
  };
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
