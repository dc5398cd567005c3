import { expect, test } from 'vitest';
import { costsAt, stageMs } from '../../speculative/cost-model.js';
import { areFarOff, costsOf, withSeenChunks } from '../../speculative/seen-costs.js';

/** Attention costs a token 10 ms for 1,000 cells. */
const truth = (tokens: number, cells: number) => 8 + tokens + 0.01 * tokens * cells;
const seen = (tokens: number, cells: number, ms = truth(tokens, cells)) => ({
  steps: 3,
  tokens,
  cells,
  ms,
});
const costs = costsOf([
  ...[1, 2, 4, 16, 64, 256].map((tokens) => seen(tokens, 256)),
  ...[1, 4, 64].map((tokens) => seen(tokens, 1024)),
]);

test('steps seen in two texts tell what they cost in all', () => {
  for (const tokens of [1, 2, 3, 16, 64, 100, 256])
    for (const cells of [0, 256, 700, 5000])
      expect(stageMs(costs, tokens, cells)).toBeCloseTo(truth(tokens, cells), 6);
  const pipeline = { stages: [costs], hopMs: 1, draftMs: 2, sharing: 1 };
  const [stage = []] = costsAt(pipeline, 700).stages;
  expect(stageMs(stage, 3)).toBeCloseTo(truth(3, 700), 6);
});

test('one text alone tells nothing of longer ones, and noise makes no step free', () => {
  const [short] = costsOf([seen(1, 256)]);
  expect(short).toEqual({ tokens: 1, ms: truth(1, 256), msPerCell: 0 });
  const [steep] = costsOf([seen(1, 256, 1), seen(1, 1024, 100)]);
  expect(steep?.ms).toBeGreaterThan(0);
  const [falling] = costsOf([seen(1, 256, 9), seen(1, 1024, 8)]);
  expect(falling).toEqual({ tokens: 1, ms: 9, msPerCell: 0 });
});

test('chunks that were seen take the place of measured ones of about their size, and others stay', () => {
  expect(withSeenChunks(costs, [])).toBe(costs);
  expect(withSeenChunks(costs, [seen(1, 256, 99)])).toBe(costs);
  const better = withSeenChunks(costs, [seen(70, 512, 500), seen(512, 512)]);
  expect(better.map(({ tokens }) => tokens)).toEqual([1, 2, 4, 16, 70, 256, 512]);
  expect(stageMs(better, 70, 512)).toBeCloseTo(500);
  expect(stageMs(better, 512, 2000)).toBeCloseTo(truth(512, 2000));
  expect(stageMs(better, 4, 256)).toBeCloseTo(truth(4, 256));
});

test('costs are far off when any size is, but not by a single step', () => {
  expect(areFarOff(costs, [seen(1, 300), seen(64, 900)], 1.5)).toBe(false);
  expect(areFarOff(costs, [seen(1, 300), seen(64, 900, 2 * truth(64, 900))], 1.5)).toBe(true);
  expect(areFarOff(costs, [seen(1, 300, truth(1, 300) / 2)], 1.5)).toBe(true);
  expect(areFarOff(costs, [{ ...seen(1, 300, 1000), steps: 1 }], 1.5)).toBe(false);
});
