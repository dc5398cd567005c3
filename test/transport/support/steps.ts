import type { Step } from '../../../transport/steps.js';

/** A causal step of so many tokens that a stage would accept. */
export function stepOf(count: number, id = 1): Step {
  const indices = Int32Array.from({ length: count }, (_, i) => i);
  return {
    id,
    follows: 0,
    tokens: indices.map((i) => 1000 + i + id),
    positions: indices,
    cells: indices,
    windowStart: 0,
    windowLength: 256 * Math.ceil(count / 256),
    visibleCounts: new Int32Array(count).fill(1),
    visible: Int32Array.from({ length: 2 * count }, (_, i) => (i % 2) * ((i >> 1) + 1)),
    outputs: Int32Array.of(count - 1),
    recentTokens: new Int32Array(0),
    sampling: {
      temperature: 0.8,
      topK: 0,
      topP: 0.95,
      minP: 0.05,
      repetitionPenalty: 1,
      seed: 2 ** 32 - 1,
    },
  };
}
