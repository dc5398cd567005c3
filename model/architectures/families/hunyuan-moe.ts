import { readExperts } from '../blocks/experts.js';
import { plainFamily } from './plain.js';

/** Hunyuan A13B: heads are normalised after rotation. */
export const hunyuanMoe = plainFamily('hunyuan-moe', (numbers) => {
  const size = numbers.of('feed_forward_length');
  return {
    pairing: 'halves',
    norms: 'each head, rotated',
    experts: readExperts(numbers, {
      gating: 'softmax',
      normalise: true,
      size,
      shared: { size: numbers.of('expert_shared_feed_forward_length', 0) || size },
    }),
  };
});
