import { EngineError, type Batch, type StageOptions } from './engine.js';

/** What a batch may refer to on a stage. */
export interface BatchLimits {
  readonly vocabulary: number;
  readonly cells: number;
  readonly maxBatchTokens: number;
}

/**
 * Checks a batch before native code trusts it: batches come over the network.
 * @throws EngineError that says what is wrong.
 */
export function checkBatch(batch: Batch, limits: BatchLimits): void {
  const { tokens, positions, cells, visible, visibleCounts, outputs } = batch;
  const { windowStart, windowLength } = batch;
  const windowEnd = windowStart + windowLength;
  const n = tokens.length;
  const within = (values: Int32Array, from: number, end: number) =>
    values.every((value) => value >= from && value < end);

  demand(n > 0 && n <= limits.maxBatchTokens, `${n} tokens, at most ${limits.maxBatchTokens}`);
  demand(positions.length === n && cells.length === n && visibleCounts.length === n, 'lengths');
  demand(within(tokens, 0, limits.vocabulary), `token ids beyond ${limits.vocabulary}`);
  demand(within(positions, 0, 2 ** 31 - 1), 'negative positions');
  demand(windowStart >= 0 && windowLength > 0 && windowEnd <= limits.cells, 'window');
  demand(within(cells, windowStart, windowEnd), 'cells outside the window');
  demand(outputs.length <= n && within(outputs, 0, n), 'outputs');
  demand(within(visibleCounts, 0, windowLength + 1), 'visible counts');
  demand(visible.length === 2 * visibleCounts.reduce((sum, count) => sum + count, 0), 'ranges');
  for (let i = 0; i < visible.length; i += 2) {
    const from = visible[i] as number;
    const to = visible[i + 1] as number;
    demand(from >= windowStart && to <= windowEnd && from < to, 'visible ranges');
  }
}

function demand(condition: boolean, what: string): void {
  if (!condition) throw new EngineError(`the step makes no sense on this stage: ${what}`);
}

/** Limits of a loaded shard. @param vocabulary of the whole model */
export function limitsOf(
  { shard, cells, maxBatchTokens }: Pick<StageOptions, 'shard' | 'cells' | 'maxBatchTokens'>,
  vocabulary: number,
): BatchLimits {
  // A shard without either end has no table that token ids could miss.
  const isBounded = shard.embedding || shard.head;
  return { vocabulary: isBounded ? vocabulary : Infinity, cells, maxBatchTokens };
}

/**
 * The part of a buffer that holds a batch's rows of hidden states: [n, hiddenSize] f32.
 * @throws EngineError when it is too small
 */
export function rowsOf(buffer: Float32Array, batch: Batch, hiddenSize: number): Float32Array {
  const values = batch.tokens.length * hiddenSize;
  if (buffer.length < values)
    throw new EngineError(`${buffer.length} hidden values for a step that needs ${values}`);
  return buffer.subarray(0, values);
}

/** How many tokens back the repetition penalty looks. */
export const penaltyReach = 64;

/**
 * The tokens that the repetition penalty looks at for row `row`: as many wherever the batch begins, so that a text does
 * not depend on how it was cut into steps.
 */
export function recentTokens(batch: Batch, row: number): number[] {
  if (batch.sampling.repetitionPenalty === 1) return [];
  return [...batch.recentTokens, ...batch.tokens.subarray(0, row + 1)].slice(-penaltyReach);
}
