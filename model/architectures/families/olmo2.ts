import { normsAfter } from '../blocks/residual.js';
import { readWindows } from '../blocks/windows.js';
import type { Family } from '../family.js';
import { plainFamily } from './plain.js';

/** OLMo 2 (arXiv 2501.00656), and 3, which has windows in three of four layers, where rotation is not scaled. */
export const olmo2: Family = {
  ...plainFamily('olmo2', (numbers) => {
    const windowOf = readWindows(numbers, { period: 4, size: 0 });
    return {
      pairing: 'halves',
      norms: 'all heads',
      layerNorms: normsAfter,
      attends: (attention, index) => {
        const window = windowOf(index);
        if (window === undefined || !attention.rope) return attention;
        const rope = { ...attention.rope, frequencyScale: 1, magnitude: 1 };
        return { ...attention, rope, options: { window } };
      },
    };
  }),
  lacks: /attn_qkv\.|attn_[qkv]\.bias$/,
};
