import { readExperts } from '../blocks/experts.js';
import { plainFamily } from './plain.js';

/** MiniMax M2. */
export const minimaxM2 = plainFamily(
  'minimax-m2',
  (numbers) => ({
    pairing: 'halves',
    norms: 'all heads',
    experts: readExperts(numbers, { gating: 'sigmoid', normalise: true, said: 'gating' }),
  }),
  /exp_probs_b/,
);
