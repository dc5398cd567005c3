import { recentTokens } from '../batch.js';
import type { Batch } from '../engine.js';
import { chooseToken } from './sampler.js';

/**
 * Chooses the next token for every output row of a batch.
 * @param logits [outputs, vocabulary] f32; changed in place by the repetition penalty
 */
export function sampleBatch(batch: Batch, logits: Float32Array, vocabulary: number): Int32Array {
  return batch.outputs.map((row, i) =>
    chooseToken(
      logits.subarray(i * vocabulary, (i + 1) * vocabulary),
      batch.sampling,
      batch.positions[row] ?? 0,
      recentTokens(batch, row),
    ),
  );
}
