import { readExperts } from '../blocks/experts.js';
import { plainFamily } from './plain.js';

/** Ling and Ring 2.0. */
export const bailingmoe2 = plainFamily(
  'bailingmoe2',
  (numbers) => {
    const size = numbers.of('expert_feed_forward_length');
    // A length of 0 is that of a file that does not say.
    const sharedSize = numbers.of('expert_shared_feed_forward_length', 0) || size;
    return {
      pairing: 'halves',
      norms: 'each head',
      experts: readExperts(numbers, {
        gating: 'sigmoid',
        normalise: false,
        said: 'all',
        shared: { size: sharedSize * numbers.of('expert_shared_count') },
      }),
    };
  },
  /attn_qkv\.weight$|exp_probs_b/,
);
