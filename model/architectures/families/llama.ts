import { readExperts } from '../blocks/experts.js';
import { ropeFactors } from '../rope.js';
import { plainFamily } from './plain.js';

/** Llama 1 to 3 and what shares its shape, such as Mistral, and Mixtral (arXiv 2401.04088). */
export const llama = plainFamily('llama', (numbers) => ({
  pairing: 'neighbours',
  factors: ropeFactors,
  ...(numbers.of('expert_count', 0) === 0
    ? {}
    : {
        experts: readExperts(numbers, {
          gating: 'softmax',
          normalise: true,
          size: numbers.of('feed_forward_length'),
        }),
      }),
}));
