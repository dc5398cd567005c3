import { normsAround } from '../blocks/residual.js';
import { plainFamily } from './plain.js';

/** GLM 4 (dense, 2025). */
export const glm4 = plainFamily(
  'glm4',
  (numbers) => {
    if (numbers.has('rope.dimension_sections'))
      throw numbers.unsupported('rope.dimension_sections', 'tells positions of images');
    return {
      pairing: 'neighbours',
      layerNorms: normsAround,
      feedForward: { isJoined: true },
    };
  },
  /attn_[qkv]\.bias$/,
);
