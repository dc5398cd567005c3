import { readHeads } from '../blocks/grouped-query-attention.js';
import { readWindows } from '../blocks/windows.js';
import { windowRope } from '../rope.js';
import { cap, gemma } from './gemma.js';
import { plainFamily } from './plain.js';

/** Gemma 2 (arXiv 2408.00118): windows in every other layer, scores and logits capped. */
export const gemma2 = plainFamily('gemma2', (numbers) => {
  const { variant, scale } = gemma(numbers, readHeads(numbers), 46);
  const windowOf = readWindows(numbers, { period: 2, size: 4096 });
  const options = { scale, ...cap(numbers.of('attn_logit_softcapping', 50)) };
  return {
    ...variant,
    logits: cap(numbers.of('final_logit_softcapping', 30)),
    attends: (attention, index) => {
      const scaled = { ...attention, scalesQueries: true, options };
      const window = windowOf(index);
      if (window === undefined || !attention.rope) return scaled;
      const rope = windowRope(numbers, attention.rope);
      return { ...scaled, rope, options: { ...options, window } };
    },
  };
});
