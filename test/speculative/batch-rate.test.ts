import { describe, expect, test } from 'vitest';
import { batchTokensPerMs, bestCohorts } from '../../speculative/batch-rate.js';
import type { PassCosts, StageCosts } from '../../speculative/cost-model.js';

const mostRows = 16;

function costs(stage: StageCosts, { stages = 2, hopMs = 0, sharing = 1 } = {}): PassCosts {
  return { stages: Array.from({ length: stages }, () => stage), hopMs, sharing };
}

/** Weights take 8 ms, and each row 1 ms. */
const affine = [
  { tokens: 1, ms: 9 },
  { tokens: 16, ms: 24 },
];

describe('sequences that are decoded together', () => {
  test('go in as many steps as there are stages, where rows are cheap', () => {
    for (const stages of [1, 2, 3, 4])
      for (const sequences of [4, 7, 8, 16])
        expect(bestCohorts(sequences, costs(affine, { stages }), mostRows)).toBe(stages);
  });

  test('are no more steps than sequences, and no more rows than a step may have', () => {
    expect(bestCohorts(1, costs(affine), mostRows)).toBe(1);
    expect(bestCohorts(2, costs(affine, { stages: 4 }), mostRows)).toBe(2);
    expect(bestCohorts(48, costs(affine), mostRows)).toBe(3);
    expect(bestCohorts(1000, costs(affine), mostRows)).toBe(6);
  });

  test('share one step where two would take twice the time', () => {
    const oneProcessor = costs(affine, { sharing: 2 });
    expect(bestCohorts(4, oneProcessor, mostRows)).toBe(1);
  });

  test('are no more steps where the way back takes longer than everything else', () => {
    expect(bestCohorts(8, costs(affine, { hopMs: 500 }), mostRows)).toBe(2);
  });

  test('are not scattered by a cost that was measured while something else took the time', () => {
    const disturbed = [
      { tokens: 1, ms: 9 },
      { tokens: 2, ms: 60 },
      { tokens: 4, ms: 60 },
      { tokens: 16, ms: 70 },
    ];
    expect(bestCohorts(4, costs(disturbed), mostRows)).toBe(2);
  });

  test('give as many tokens as the busiest stage computes, or come back', () => {
    expect(batchTokensPerMs(1, costs(affine), mostRows)).toBeCloseTo(1 / 18);
    expect(batchTokensPerMs(8, costs(affine), mostRows)).toBeCloseTo(8 / 24);
    expect(batchTokensPerMs(2, costs(affine, { hopMs: 41 }), mostRows)).toBeCloseTo(2 / 100);
    expect(batchTokensPerMs(1000, costs(affine), mostRows)).toBeCloseTo(96 / 144);
  });
});
