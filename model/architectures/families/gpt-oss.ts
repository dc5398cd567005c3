import { readExperts } from '../blocks/experts.js';
import { normsBeforeByOtherName } from '../blocks/residual.js';
import { readWindows } from '../blocks/windows.js';
import { windowRope } from '../rope.js';
import { plainFamily } from './plain.js';

/** gpt-oss (arXiv 2508.10925): sinks in all layers, windows in every other, biases everywhere. */
export const gptOss = plainFamily(
  'gpt-oss',
  (numbers) => {
    const windowOf = readWindows(numbers, { period: 2 });
    return {
      pairing: 'halves',
      layerNorms: normsBeforeByOtherName,
      attends: (attention, index) => {
        const window = windowOf(index);
        if (window === undefined || !attention.rope) return { ...attention, sinks: 'always' };
        const rope = windowRope(numbers, attention.rope);
        return { ...attention, sinks: 'always', rope, options: { window } };
      },
      experts: {
        ...readExperts(numbers, { gating: 'softmax of chosen', normalise: false }),
        activation: 'clamped',
      },
    };
  },
  /(attn_(q|k|v|output)|ffn_\w+)\.bias$/,
);
