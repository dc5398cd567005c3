import { describe, expect, test } from 'vitest';
import { filterCandidates } from '../../engine/sampling/candidates.js';
import { LogitBlocks } from '../../engine/sampling/logit-blocks.js';
import {
  gumbelNoise,
  gumbelOfBits,
  maxGumbelNoise,
  mayExceed,
} from '../../engine/sampling/noise.js';
import { randomNumbers } from '../transport/support/random.js';
import { chooseToken, isGreedy } from '../../engine/sampling/sampler.js';
import { greedy, type Sampling } from '../../step/sampling.js';
import {
  candidatesByDefinition,
  choiceByDefinition,
  softmax,
} from '../support/choice-by-definition.js';
import { Random } from '../support/random.js';

const open: Sampling = { ...greedy, temperature: 1 };
const logits = Float32Array.of(2, 1, 0.5, 0, -1, -3);

function kept(sampling: Partial<Sampling>): number[] {
  return candidatesOf(logits, { ...open, ...sampling });
}

/** Ascending. */
function candidatesOf(of: Float32Array, sampling: Sampling): number[] {
  return [...filterCandidates(new LogitBlocks(of), sampling)].sort((a, b) => a - b);
}

describe('filters', () => {
  test('keep everything when they are off', () => {
    expect(kept({})).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('top-k keeps the k likeliest', () => {
    expect(kept({ topK: 2 })).toEqual([0, 1]);
    expect(kept({ topK: 100 })).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('top-p keeps the fewest that reach the mass', () => {
    const [a = 0, b = 0] = softmax([...logits]);
    expect(kept({ topP: 0 })).toEqual([0]);
    expect(kept({ topP: a - 0.01 })).toEqual([0]);
    expect(kept({ topP: a + 0.01 })).toEqual([0, 1]);
    expect(kept({ topP: a + b + 0.01 })).toEqual([0, 1, 2]);
  });

  test('typical-p keeps those of usual surprise, which the likeliest need not be', () => {
    // One of a third, and many that share the rest: their surprise is nearer to the mean.
    const peaked = Float32Array.of(Math.log(10), ...new Array<number>(20).fill(0));
    expect(candidatesOf(peaked, { ...open, typicalP: 0.2 })).not.toContain(0);
    expect(kept({ typicalP: 0 })).toHaveLength(1);
  });

  test('min-p is relative to the likeliest, also after top-p', () => {
    expect(kept({ minP: Math.exp(-1.6) })).toEqual([0, 1, 2]);
    expect(kept({ minP: Math.exp(-1.6), topP: 0.999 })).toEqual([0, 1, 2]);
  });

  test('temperature comes after them', () => {
    const filters = { minP: Math.exp(-1.6), topP: 0.9 };
    expect(kept({ ...filters, temperature: 2 })).toEqual(kept(filters));
  });

  test('of equal logits the smaller id stays', () => {
    const flat = new Float32Array(5000).fill(1);
    const first = (count: number) => Array.from({ length: count }, (_, token) => token);
    expect(candidatesOf(flat, { ...open, topK: 3 })).toEqual(first(3));
    expect(candidatesOf(flat, { ...open, topP: 0.0999 })).toEqual(first(500));
    expect(candidatesOf(flat, { ...open, typicalP: 0.0999 })).toEqual(first(500));
  });
});

describe('over a large vocabulary', () => {
  const random = new Random(3);
  const large = Float32Array.from(
    { length: 20_011 },
    () => (random.share() + random.share() + random.share()) * 8,
  );
  large.fill(15, 500, 520);
  const peaked = large.map((logit) => logit * 2.5);

  const settings: Partial<Sampling>[] = [
    { topK: 40 },
    { topK: 7, temperature: 0.3 },
    { topK: 300, topP: 0.9 },
    { topK: 300, topP: 0.5, minP: 0.4, temperature: 2 },
    { topK: 19_000, topP: 0.99 },
    { minP: 0.1 },
    { minP: 0.01, temperature: 3 },
    { topP: 0.1 },
    { topP: 0.9 },
    { topP: 0.9999 },
    { topP: 0.95, minP: 0.05, temperature: 0.7 },
    { typicalP: 0.9 },
    { typicalP: 0.2, topP: 0.9, minP: 0.05 },
    { topK: 100, typicalP: 0.7, topP: 0.95, temperature: 0.7 },
  ];

  test.each(settings)('candidates are those by definition: %j', (change) => {
    const sampling = { ...open, ...change };
    for (const of of [large, peaked])
      expect(candidatesOf(of, sampling)).toEqual(
        candidatesByDefinition(of, sampling).sort((a, b) => a - b),
      );
  });

  test.each([{}, { temperature: 0, repetitionPenalty: 1.2 }, { temperature: 0.2 }, ...settings])(
    'choices are those by definition: %j',
    (change) => {
      for (let seed = 0; seed < 10; seed++)
        for (const of of [large, peaked]) {
          const sampling = { ...open, repetitionPenalty: seed % 2 ? 1.1 : 1, ...change, seed };
          const recent = Int32Array.from({ length: 64 }, () => random.between(490, 560));
          const expected = choiceByDefinition(of, sampling, 40 + seed, recent);
          expect(chooseToken(of.slice(), sampling, 40 + seed, recent)).toBe(expected);
        }
    },
  );
});

describe('noise', () => {
  test('is never ruled out wrongly', () => {
    const random = randomNumbers(8);
    let wrong = 0;
    for (let i = 0; i < 200_000; i++) {
      const bits = Math.floor(random() * 2 ** 32);
      const least = random() * 24 - 2;
      if (gumbelOfBits(bits) > least && !mayExceed(bits, least)) wrong++;
    }
    expect(wrong).toBe(0);
    expect(mayExceed(2 ** 32 - 1, maxGumbelNoise - 1e-9)).toBe(true);
    expect(mayExceed(2 ** 31, 10)).toBe(false);
  });

  test('is a pure function of seed, position and token', () => {
    expect(gumbelNoise(1, 2, 3)).toBe(gumbelNoise(1, 2, 3));
    const others = [gumbelNoise(2, 2, 3), gumbelNoise(1, 3, 3), gumbelNoise(1, 2, 4)];
    expect(new Set([gumbelNoise(1, 2, 3), ...others]).size).toBe(4);
  });

  test('has the mean and variance of the Gumbel distribution', () => {
    const values = Array.from({ length: 200_000 }, (_, i) => gumbelNoise(7, i >> 9, i & 511));
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
    expect(mean).toBeCloseTo(0.5772, 1);
    expect(variance).toBeCloseTo(Math.PI ** 2 / 6, 1);
    expect(Math.max(...values.slice(0, 50_000))).toBeLessThan(maxGumbelNoise);
  });
});

describe('chooseToken', () => {
  /** Pearson's statistic of observed counts against expected probabilities. */
  function chiSquare(counts: readonly number[], expected: readonly number[]): number {
    const total = counts.reduce((a, b) => a + b, 0);
    return counts.reduce((sum, count, i) => {
      const mean = total * (expected[i] ?? 0);
      return mean === 0 ? sum + count : sum + (count - mean) ** 2 / mean;
    }, 0);
  }

  function sample(sampling: Sampling, vary: 'seed' | 'position'): number[] {
    const counts = new Array<number>(logits.length).fill(0);
    for (let i = 0; i < 20_000; i++) {
      const token = chooseToken(
        logits,
        vary === 'seed' ? { ...sampling, seed: i } : sampling,
        vary === 'position' ? i : 5,
        [],
      );
      counts[token] = (counts[token] ?? 0) + 1;
    }
    return counts;
  }

  // 20.5 is the 99.9th percentile of chi-square with 5 degrees of freedom; the samples are the same every time.
  test.each(['seed', 'position'] as const)('follows the softmax over %s', (vary) => {
    expect(chiSquare(sample(open, vary), softmax([...logits]))).toBeLessThan(20.5);
  });

  test('follows the filtered softmax at another temperature', () => {
    const expected = [...softmax([2 / 0.7, 1 / 0.7, 0.5 / 0.7]), 0, 0, 0];
    const counts = sample({ ...open, temperature: 0.7, topK: 3 }, 'position');
    expect(chiSquare(counts, expected)).toBeLessThan(20.5);
  });

  test('is greedy at temperature 0', () => {
    expect(chooseToken(logits.slice(), greedy, 0, [])).toBe(0);
    expect(isGreedy(greedy)).toBe(true);
    expect(isGreedy({ ...greedy, repetitionPenalty: 1.1 })).toBe(false);
  });

  test('the repetition penalty makes recent tokens less likely, whatever their sign', () => {
    const sampling = { ...greedy, repetitionPenalty: 3 };
    expect(chooseToken(logits.slice(), sampling, 0, [0])).toBe(1);
    expect(chooseToken(Float32Array.of(-1, -2), sampling, 0, [0])).toBe(1);
  });
});
