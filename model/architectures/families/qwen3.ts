import { plainFamily } from './plain.js';

/** Qwen 3 (dense): every head of q and k is normalised. */
export const qwen3 = plainFamily('qwen3', { pairing: 'halves', norms: 'each head' });
