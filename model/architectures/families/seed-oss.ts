import { normsBeforeByOtherName } from '../blocks/residual.js';
import { plainFamily } from './plain.js';

/** Seed-OSS. */
export const seedOss = plainFamily(
  'seed_oss',
  {
    pairing: 'halves',
    layerNorms: normsBeforeByOtherName,
  },
  /attn_[qkv]\.bias$/,
);
