import { readExperts } from '../blocks/experts.js';
import { plainFamily } from './plain.js';

/** Qwen 1.5 and 2 with experts (arXiv 2407.10671). */
export const qwen2moe = plainFamily(
  'qwen2moe',
  (numbers) => ({
    pairing: 'halves',
    experts: readExperts(numbers, {
      gating: 'softmax',
      normalise: false,
      shared: { size: numbers.of('expert_shared_feed_forward_length'), isGated: true },
    }),
  }),
  /attn_[qkv]\.bias$/,
);
