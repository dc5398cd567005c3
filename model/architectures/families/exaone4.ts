import { normsAfter } from '../blocks/residual.js';
import { readWindows } from '../blocks/windows.js';
import { readSizes } from '../family.js';
import { ropeFactors } from '../rope.js';
import { plainFamily } from './plain.js';

/** Only the largest model has windows; the small ones' files may name one that is not used. */
const layersWithWindows = 64;

/** EXAONE 4 (arXiv 2507.11407). Where there are windows, the layers without one are not told positions. */
export const exaone4 = plainFamily('exaone4', (numbers) => {
  const hasWindows = readSizes(numbers).layers === layersWithWindows;
  const windowOf = readWindows(numbers, { period: 4, size: 4096 });
  return {
    pairing: 'halves',
    factors: ropeFactors,
    norms: 'each head',
    layerNorms: normsAfter,
    attends: (attention, index) => {
      if (!hasWindows) return attention;
      const window = windowOf(index);
      return window === undefined
        ? { ...attention, rope: undefined }
        : { ...attention, options: { window } };
    },
  };
});
