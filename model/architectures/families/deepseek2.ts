import { expertFeedForward, readExperts, type ExpertOptions } from '../blocks/experts.js';
import { feedForward } from '../blocks/feed-forward.js';
import { attendLatent, readLatentHeads } from '../blocks/latent-attention.js';
import { addToStream, normsBefore } from '../blocks/residual.js';
import { readSizes, type Family } from '../family.js';
import type { FamilyNumbers } from '../family-numbers.js';
import { normedLogits } from './plain.js';

/** DeepSeek V2, V3 and R1, and Kimi K2: latent attention, and experts in all layers but the first ones. */
export const deepseek2: Family = {
  name: 'deepseek2',
  usually: /exp_probs_b/,
  open: (numbers) => {
    const sizes = readSizes(numbers);
    const { hiddenSize, blocks } = sizes;
    const heads = readLatentHeads(numbers);
    const experts = readExpertsOf(numbers, blocks);
    const { epsilon } = heads;
    const size = experts.leadingDense > 0 ? numbers.of('feed_forward_length') : 0;
    return {
      ...sizes,
      layer: (graph, layer, hidden) => {
        const options = { layer, epsilon };
        const middle = addToStream(
          graph,
          hidden,
          { ...options, norms: normsBefore.attention },
          (x) => {
            const attended = attendLatent(graph, x, layer, heads);
            return graph.linear(attended, `blk.${layer}.attn_output`, hiddenSize);
          },
        );
        return addToStream(graph, middle, { ...options, norms: normsBefore.feedForward }, (x) =>
          layer < experts.leadingDense
            ? feedForward(graph, x, layer, { hiddenSize, size })
            : expertFeedForward(graph, x, layer, hiddenSize, experts),
        );
      },
      head: (graph, hidden) => normedLogits(graph, hidden, epsilon),
    };
  },
};

/** Blocks of GLM 4.7 Flash, without and with the one that guesses. */
const glmFlashBlocks: readonly number[] = [47, 48];

function readExpertsOf(numbers: FamilyNumbers, blocks: number): ExpertOptions {
  // Files that do not say are of DeepSeek V2, but for one other model.
  if (!numbers.has('expert_gating_func') && glmFlashBlocks.includes(blocks))
    throw numbers.unsupported('expert_gating_func', 'is missing, which GLM 4.7 Flash needs');
  const size = numbers.of('expert_feed_forward_length') * numbers.of('expert_shared_count', 0);
  return readExperts(numbers, {
    ...{ gating: 'softmax', normalise: false, said: 'all' },
    shared: { size },
  });
}
