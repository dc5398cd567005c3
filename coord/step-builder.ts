import { penaltyReach } from '../engine/batch.js';
import type { Batch, Sampling } from '../engine/engine.js';
import { windowLength, type CellRange } from './cells.js';

/**
 * The batch that continues a text: token i of it stands at position `first + i`, in the cell of the same index within
 * the conversation's range, and sees everything before it.
 * @param text [≥ first + count] the whole text
 * @param outputs rows, counted from `first`, whose next token is wanted
 */
export function causalBatch(
  text: ArrayLike<number>,
  first: number,
  count: number,
  range: CellRange,
  outputs: Int32Array,
  sampling: Sampling,
): Batch {
  const slice = (from: number, to: number) =>
    Int32Array.from({ length: to - from }, (_, i) => text[from + i] ?? 0);
  const positions = Int32Array.from({ length: count }, (_, i) => first + i);
  const visible = new Int32Array(2 * count);
  for (let i = 0; i < count; i++) {
    visible[2 * i] = range.start;
    visible[2 * i + 1] = range.start + first + i + 1;
  }
  return {
    tokens: slice(first, first + count),
    positions,
    cells: positions.map((position) => range.start + position),
    windowStart: range.start,
    windowLength: windowLength(range, first + count),
    visibleCounts: new Int32Array(count).fill(1),
    visible,
    outputs,
    sampling,
    recentTokens:
      sampling.repetitionPenalty === 1
        ? new Int32Array(0)
        : slice(Math.max(0, first - penaltyReach), first),
  };
}
