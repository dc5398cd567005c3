import { readSizes } from '../family.js';
import { divisor } from './granite.js';
import { ropeFactors } from '../rope.js';
import { plainFamily } from './plain.js';

/** MiniCPM 1 and 2 (arXiv 2404.06395). Files from before its scales were stored have those of the first models. */
export const minicpm = plainFamily('minicpm', (numbers) => ({
  pairing: 'neighbours',
  factors: ropeFactors,
  scales: {
    embedding: numbers.of('embedding_scale', 12),
    residual: numbers.of('residual_scale', 1.4 / Math.sqrt(readSizes(numbers).layers)),
  },
  logits: {
    scale: divisor(numbers, numbers.of('logit_scale', 256 / numbers.of('embedding_length'))),
  },
}));
