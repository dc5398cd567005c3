import { feedForward } from '../blocks/feed-forward.js';
import { attend, readHeads } from '../blocks/grouped-query-attention.js';
import { readWindows } from '../blocks/windows.js';
import { readSizes, type Decoder, type Family } from '../family.js';
import type { FamilyNumbers } from '../family-numbers.js';
import { readRope } from '../rope.js';
import { adjusted } from './plain.js';

/** Command R7B and A (arXiv 2504.00698): attention and feed-forward side by side, from one norm. */
export const cohere2: Family = { name: 'cohere2', open };

function open(numbers: FamilyNumbers): Decoder {
  const sizes = readSizes(numbers);
  const { hiddenSize } = sizes;
  const heads = readHeads(numbers);
  const epsilon = numbers.of('attention.layer_norm_epsilon');
  const size = numbers.of('feed_forward_length');
  const rope = readRope(numbers, heads.keySize, 'neighbours');
  const windowOf = readWindows(numbers, { period: 4 });
  const scale = numbers.of('logit_scale');
  /** Only layers with a window are told positions. */
  const attention = (layer: number) => {
    const window = windowOf(layer);
    return window === undefined
      ? { ...heads, epsilon }
      : { ...heads, epsilon, rope, options: { window } };
  };
  return {
    ...sizes,
    layer: (graph, layer, hidden) => {
      const x = graph.layerNorm(hidden, epsilon, `blk.${layer}.attn_norm`);
      const attended = graph.linear(
        attend(graph, x, layer, attention(layer)),
        `blk.${layer}.attn_output`,
        hiddenSize,
      );
      const fed = feedForward(graph, x, layer, { hiddenSize, size });
      return graph.add(graph.add(fed, hidden), attended);
    },
    head: (graph, hidden) => {
      const logits = graph.logits(graph.layerNorm(hidden, epsilon, 'output_norm'));
      return adjusted(graph, logits, scale === 0 ? {} : { scale });
    },
  };
}
