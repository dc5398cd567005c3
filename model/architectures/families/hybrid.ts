import { deltaNet, readDeltaNet, type DeltaNet } from '../blocks/delta-net.js';
import { expertFeedForward, readExperts } from '../blocks/experts.js';
import { feedForward } from '../blocks/feed-forward.js';
import { attend, readHeads } from '../blocks/grouped-query-attention.js';
import { readSizes, type Decoder, type Family } from '../family.js';
import type { FamilyNumbers } from '../family-numbers.js';
import { readRope } from '../rope.js';
import { normedLogits, type LayerFeedForward } from './plain.js';

/** What differs between families of gated delta nets beside gated attention. */
export interface HybridVariant {
  readonly valueHeads: DeltaNet['valueHeads'];
  /** Whether positions have several axes, which are all the same in a text. */
  readonly hasAxes: boolean;
  readonly feedForward: (numbers: FamilyNumbers) => LayerFeedForward;
}

/**
 * Decoders of layers that keep a state, and at intervals one that attends to the whole text, with a gate on what it
 * gives.
 */
export function openHybrid(numbers: FamilyNumbers, variant: HybridVariant): Decoder {
  const sizes = readSizes(numbers);
  const { hiddenSize } = sizes;
  if (numbers.has('attention.recurrent_layers'))
    throw numbers.unsupported('attention.recurrent_layers', 'is not supported');
  const interval = numbers.of('full_attention_interval', 4);
  const net = readDeltaNet(numbers, variant.valueHeads);
  const heads = readHeads(numbers);
  const { epsilon } = net;
  const rope = readRope(numbers, heads.keySize, 'halves');
  if (variant.hasAxes) checkAxes(numbers, rope.dimensions / 2);
  const attention = { ...heads, rope, epsilon, norms: 'each head', gates: 'features' } as const;
  const feed = variant.feedForward(numbers);
  return {
    ...sizes,
    layer: (graph, index, hidden) => {
      const tensor = (name: string) => `blk.${index}.${name}`;
      const x = graph.rmsNorm(hidden, epsilon, tensor('attn_norm.weight'));
      const attends = (index + 1) % interval === 0;
      const mixed = attends
        ? graph.linear(attend(graph, x, index, attention), tensor('attn_output'), hiddenSize)
        : deltaNet(graph, x, index, net);
      const middle = graph.add(hidden, mixed);
      const y = graph.rmsNorm(middle, epsilon, tensor('post_attention_norm.weight'));
      return graph.add(middle, feed(graph, y, index));
    },
    head: (graph, hidden) => normedLogits(graph, hidden, epsilon),
  };
}

/** The feed-forward that all tokens go through. */
export function denseFeedForward(numbers: FamilyNumbers): LayerFeedForward {
  const sizes = {
    hiddenSize: numbers.of('embedding_length'),
    size: numbers.of('feed_forward_length'),
  };
  return (graph, x, layer) => feedForward(graph, x, layer, sizes);
}

/** Experts, and one that all tokens go through as far as they want. */
export function gatedExperts(numbers: FamilyNumbers): LayerFeedForward {
  const hiddenSize = numbers.of('embedding_length');
  const experts = readExperts(numbers, {
    gating: 'softmax',
    normalise: true,
    shared: { size: numbers.of('expert_shared_feed_forward_length'), isGated: true },
  });
  return (graph, x, layer) => expertFeedForward(graph, x, layer, hiddenSize, experts);
}

/** @param name value of `general.architecture` */
export function hybridFamily(name: string, variant: HybridVariant): Family {
  return { name, open: (numbers) => openHybrid(numbers, variant) };
}

/**
 * Pairs of features take turns in the axes time, height and width; pairs behind a section's share are for a fourth axis,
 * which a text does not have.
 */
function checkAxes(numbers: FamilyNumbers, pairs: number): void {
  const sections = numbers.ofLayers('rope.dimension_sections', 4);
  const sum = sections.reduce((total, section) => total + section, 0);
  for (let pair = 0; pair < pairs; pair++) {
    const turn = sum === 0 ? 0 : pair % sum;
    if (turn >= 3 * (sections[turn % 3] ?? 0))
      throw numbers.unsupported(
        'rope.dimension_sections',
        `is ${sections.join(', ')}, which gives no axis of text to some of ${pairs} pairs`,
      );
  }
}
