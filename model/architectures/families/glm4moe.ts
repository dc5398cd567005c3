import { readExperts } from '../blocks/experts.js';
import { normsBeforeByOtherName } from '../blocks/residual.js';
import { plainFamily } from './plain.js';

/** GLM 4.5 to 4.7 (arXiv 2508.06471). */
export const glm4moe = plainFamily(
  'glm4moe',
  (numbers) => {
    if (numbers.has('rope.dimension_sections'))
      throw numbers.unsupported('rope.dimension_sections', 'tells positions of images');
    const size = numbers.of('expert_feed_forward_length');
    return {
      pairing: 'halves',
      norms: 'each head, if any',
      layerNorms: normsBeforeByOtherName,
      experts: readExperts(numbers, {
        gating: 'sigmoid',
        normalise: false,
        said: 'all',
        shared: { size: size * numbers.of('expert_shared_count') },
      }),
    };
  },
  /attn_[qkv]\.bias$|exp_probs_b/,
);
