import { readHeads } from '../blocks/grouped-query-attention.js';
import { readWindows } from '../blocks/windows.js';
import { unscaledWindowRope } from '../rope.js';
import { cap, gemma } from './gemma.js';
import { plainFamily } from './plain.js';

/** Gemma 3 (arXiv 2503.19786): windows in five of six layers, which rotate from another base and unscaled. */
export const gemma3 = plainFamily('gemma3', (numbers) => {
  const { variant, scale } = gemma(numbers, readHeads(numbers), 62);
  const windowOf = readWindows(numbers, { period: 6, size: 0 });
  return {
    ...variant,
    norms: 'each head',
    logits: cap(numbers.of('final_logit_softcapping', 0)),
    attends: (attention, index) => {
      const scaled = { ...attention, scalesQueries: true, options: { scale } };
      const window = windowOf(index);
      if (window === undefined || !attention.rope) return scaled;
      const rope = unscaledWindowRope(numbers, attention.rope);
      return { ...scaled, rope, options: { scale, window } };
    },
  };
});
