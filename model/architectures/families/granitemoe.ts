import { readExperts } from '../blocks/experts.js';
import { graniteVariant } from './granite.js';
import { plainFamily } from './plain.js';

/** Granite 3 and 4 with experts. */
export const granitemoe = plainFamily('granitemoe', (numbers) => ({
  ...graniteVariant(numbers),
  experts: readExperts(numbers, {
    gating: 'softmax',
    normalise: true,
    size: numbers.of('feed_forward_length'),
    shared: { size: numbers.of('expert_shared_feed_forward_length', 0) },
  }),
}));
