import { readExperts } from '../blocks/experts.js';
import { readHeadsOfLayers } from '../blocks/grouped-query-attention.js';
import { readListedWindows } from '../blocks/windows.js';
import { readSizes, type Family } from '../family.js';
import { unscaledWindowRope } from '../rope.js';
import { plainFamily } from './plain.js';

/** MiMo V2: longer keys than values, and in layers with a window sinks, another base of rotation, and other heads. */
export const mimo2: Family = {
  ...plainFamily(
    'mimo2',
    (numbers) => {
      const { layers } = readSizes(numbers);
      const windows = readListedWindows(numbers, layers);
      // A scale of 0 is that of a model without it.
      const attended = numbers.of('attention.value_scale', 0) || 1;
      return {
        pairing: 'halves',
        heads: readHeadsOfLayers(numbers, layers),
        attends: (attention, index) => {
          const window = windows[index];
          const { rope } = attention;
          return window === undefined || !rope
            ? { ...attention, sinks: 'if any' }
            : {
                ...attention,
                sinks: 'if any',
                rope: unscaledWindowRope(numbers, rope),
                options: { window },
              };
        },
        scales: { attended },
        experts: {
          ...readExperts(numbers, { gating: 'sigmoid', normalise: true }),
          leadingDense: 0,
          isOptional: true,
        },
      };
    },
    /blk\.[1-9]\d*\.ffn_gate_inp\.weight$|blk\.[12]\.attn_sinks|exp_probs_b/,
  ),
  // llama.cpp loads these, and does not compute with them.
  lacks: /attn_(q|k|v|qkv)\.scale$|attn_qkv\.bias$|ffn_\w+\.scale$/,
};
