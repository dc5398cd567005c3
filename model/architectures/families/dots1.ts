import { readExperts } from '../blocks/experts.js';
import { plainFamily } from './plain.js';

/** dots.llm1 (arXiv 2506.05767). */
export const dots1 = plainFamily(
  'dots1',
  (numbers) => {
    const size = numbers.of('expert_feed_forward_length');
    return {
      pairing: 'halves',
      norms: 'each head',
      experts: readExperts(numbers, {
        gating: 'softmax',
        normalise: false,
        said: 'all',
        shared: { size: size * numbers.of('expert_shared_count') },
      }),
    };
  },
  /exp_probs_b/,
);
