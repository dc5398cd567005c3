import { decoderFamily } from './decoder.js';

/** Qwen 2 and 2.5: Llama with biases on q, k and v. */
export const qwen2 = decoderFamily('qwen2', {
  ropePairing: 'halves',
  ropeFactors: false,
  attentionBias: true,
  headNorms: false,
});
