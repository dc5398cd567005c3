import { plainFamily } from './plain.js';

/** Qwen 2 and 2.5: Llama with biases on q, k and v. */
export const qwen2 = plainFamily('qwen2', { pairing: 'halves' }, /attn_[qkv]\.bias$/);
