import { decoderFamily } from './decoder.js';

/** Qwen 3 (dense): every head of q and k is normalised. */
export const qwen3 = decoderFamily('qwen3', {
  ropePairing: 'halves',
  ropeFactors: false,
  attentionBias: false,
  headNorms: true,
});
