import { readExperts } from '../blocks/experts.js';
import { plainFamily } from './plain.js';

/** Qwen 3 with experts (arXiv 2505.09388), such as 30B-A3B, 235B-A22B, and Coder. */
export const qwen3moe = plainFamily('qwen3moe', (numbers) => ({
  pairing: 'halves',
  norms: 'each head',
  experts: readExperts(numbers, { gating: 'softmax', normalise: true }),
}));
