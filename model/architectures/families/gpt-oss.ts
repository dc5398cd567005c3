import { readExperts } from '../blocks/experts.js';
import { normsBeforeByOtherName } from '../blocks/residual.js';
import { readWindows } from '../blocks/windows.js';
import { plainFamily } from './plain.js';

/** gpt-oss (arXiv 2508.10925): sinks in all layers, windows in every other, biases everywhere. */
export const gptOss = plainFamily(
  'gpt-oss',
  (numbers) => {
    // llama.cpp leaves out the scaling of some layers then.
    if (numbers.text('rope.scaling.type', 'yarn') === 'none' && numbers.has('rope.scaling.factor'))
      throw numbers.unsupported('rope.scaling.type', 'is none, and there is a factor');
    const windowOf = readWindows(numbers, { period: 2 });
    const base = numbers.of('rope.freq_base_swa', numbers.of('rope.freq_base', 10_000));
    return {
      pairing: 'halves',
      layerNorms: normsBeforeByOtherName,
      attends: (attention, index) => {
        const sinks = `blk.${index}.attn_sinks.weight`;
        const window = windowOf(index);
        if (window === undefined || !attention.rope) return { ...attention, options: { sinks } };
        return {
          ...attention,
          rope: { ...attention.rope, base },
          options: { sinks, window },
        };
      },
      experts: {
        ...readExperts(numbers, { gating: 'softmax of chosen', normalise: false }),
        activation: 'clamped',
      },
    };
  },
  /(attn_(q|k|v|output)|ffn_\w+)\.bias$/,
);
