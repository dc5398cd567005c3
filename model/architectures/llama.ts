import { decoderFamily } from './decoder.js';

/** Llama 1 to 3 and what shares its shape, such as Mistral. */
export const llama = decoderFamily('llama', {
  ropePairing: 'neighbours',
  ropeFactors: true,
  attentionBias: false,
  headNorms: false,
});
