import { readExperts } from '../blocks/experts.js';
import { plainFamily } from './plain.js';

/** ERNIE 4.5 with experts. */
export const ernie45moe = plainFamily(
  'ernie4_5-moe',
  (numbers) => {
    if (numbers.of('interleave_moe_layer_step', 1) !== 1)
      throw numbers.unsupported('interleave_moe_layer_step', 'puts dense layers between experts');
    return {
      pairing: 'neighbours',
      experts: readExperts(numbers, {
        gating: 'softmax',
        normalise: true,
        shared: { size: numbers.of('expert_shared_feed_forward_length', 0) },
      }),
    };
  },
  /exp_probs_b/,
);
