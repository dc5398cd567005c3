import type { Batch } from '../engine.js';

/**
 * The first cell that all tokens of a batch see, if it is plain text: neighbouring cells, of which every token sees
 * those from the first one to its own. Attention then needs no mask, and writes keys and values in place.
 * @returns undefined for anything else, such as a tree of drafts
 */
export function causalStart({ cells, visible, visibleCounts }: Batch): number | undefined {
  const first = cells[0] as number;
  const start = visible[0];
  const isPlain = cells.every(
    (cell, i) =>
      cell === first + i &&
      visibleCounts[i] === 1 &&
      visible[2 * i] === start &&
      visible[2 * i + 1] === cell + 1,
  );
  return isPlain ? start : undefined;
}
