import type { Segment } from '../../../step/step.js';

/**
 * The first cell that all rows of a segment see, if it is plain text: neighbouring cells, of which every row sees those
 * from the first one to its own. Attention then needs no mask, and writes keys and values in place.
 * @returns undefined for anything else, such as a tree of drafts
 */
export function causalStart({ cells, visible }: Segment): number | undefined {
  const { counts, ranges } = visible;
  const first = cells[0] as number;
  const start = ranges[0];
  for (let i = 0; i < cells.length; i++) {
    const cell = first + i;
    if (cells[i] !== cell || counts[i] !== 1) return undefined;
    if (ranges[2 * i] !== start || ranges[2 * i + 1] !== cell + 1) return undefined;
  }
  return start;
}
