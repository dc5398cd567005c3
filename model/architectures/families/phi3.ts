import { longRopeFactors } from '../rope.js';
import { plainFamily } from './plain.js';

/** Phi 3, 3.5 and 4: matrices joined, LongRoPE. The window that their files name is not used, as they were converted. */
export const phi3 = plainFamily(
  'phi3',
  {
    pairing: 'halves',
    factors: longRopeFactors,
    attends: (attention) => ({ ...attention, scalesQueries: true }),
    feedForward: { isJoined: true },
  },
  /attn_qkv\.weight$|^rope_factors_/,
);
