import { greedy } from '../engine/engine.js';
import type { CellRange } from './cells.js';
import type { Pipeline } from './pipeline.js';
import { causalBatch } from './step-builder.js';

/**
 * Has stages that keep keys and values as whole numbers find scales for them. They come from one text, so that neither
 * what was said before nor the split makes a difference.
 * @param range cells that nobody uses yet
 * @param chunkTokens most tokens in one step; a longer text is calibrated with in pieces
 * @throws CoordinatorError 'worker-lost', 'step'
 */
export async function calibrateKv(
  pipeline: Pipeline,
  text: Int32Array,
  range: CellRange,
  chunkTokens: number,
): Promise<void> {
  const most = Math.min(chunkTokens, range.length);
  for (let first = 0; first < text.length; first += most) {
    const piece = text.subarray(first, first + most);
    const batch = causalBatch(piece, 0, piece.length, range, new Int32Array(0), greedy);
    await pipeline.submit({ ...batch, calibratesKv: true }).tokens;
  }
}
