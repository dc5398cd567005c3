import { greedy, type Batch } from '../engine/engine.js';
import type { CellRange } from './cells.js';
import { causalBatch } from './step-builder.js';

/** Tokens of a step: enough to be typical of a text, and few enough that progress can be seen. */
const pieceTokens = 64;

/**
 * The steps that stages which keep keys and values as whole numbers find scales for them by. They are one text, in pieces
 * that each begin anew, so that neither what was said before nor the split makes a difference.
 * @param range cells that nobody uses yet
 * @param maxStepTokens pieces have no more either
 */
export function calibrationSteps(
  text: Int32Array,
  range: CellRange,
  maxStepTokens: number,
): Batch[] {
  const most = Math.min(pieceTokens, maxStepTokens, range.length);
  const none = new Int32Array(0);
  return Array.from({ length: Math.ceil(text.length / most) }, (_, i) => {
    const piece = text.subarray(i * most, (i + 1) * most);
    const batch = causalBatch(piece, 0, piece.length, range, none, greedy);
    return { ...batch, calibratesKv: true };
  });
}
