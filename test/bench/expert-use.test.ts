import { expect, test } from 'vitest';
import { expertUse } from '../../bench/expert-use.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';

const model = syntheticModel('tiny-qwen3moe', 'f32');
// Three products of 128 by 64.
const expertBytes = 3 * 128 * 64 * 4;

test('what is even has all the entropy that there can be, and what goes one way has none', () => {
  const even = {
    layer: 0,
    counts: new Array<number>(8).fill(5),
    rows: 20,
    steps: 20,
    distinct: 40,
  };
  const skewed = { ...even, layer: 2, counts: [0, 0, 0, 20, 0, 20, 0, 0] };
  const { layers } = expertUse(model, [even, skewed]);
  expect(layers).toMatchObject([
    { ...even, hottestShare: 1 / 8, hottestTenthShare: 1 / 8, entropyBits: 3, mostEntropyBits: 3 },
    { ...skewed, hottestShare: 1 / 2, entropyBits: 1, mostEntropyBits: 3 },
  ]);
});

test('the hottest tenth is that of many experts', () => {
  const counts = Array.from({ length: 20 }, (_, i) => i);
  const [use] = expertUse(model, [{ layer: 1, counts, rows: 95, steps: 1, distinct: 19 }]).layers;
  expect(use?.hottestTenthShare).toBeCloseTo((19 + 18) / 190);
});

test('a step reads an expert once, and its rows share that', () => {
  const alone = { layer: 0, counts: [3, 1, 0, 0, 0, 0, 0, 0], rows: 2, steps: 2, distinct: 4 };
  const together = {
    ...alone,
    layer: 1,
    counts: [4, 4, 0, 0, 0, 0, 0, 0],
    rows: 4,
    steps: 1,
    distinct: 2,
  };
  const use = expertUse(model, [alone, together]);
  expect(use.layers.map(({ bytesPerToken }) => bytesPerToken / expertBytes)).toEqual([2, 1 / 2]);
  expect(use.layers.map(({ distinctPerStep }) => distinctPerStep)).toEqual([2, 2]);
  expect(use.bytesPerToken).toBe(2.5 * expertBytes);
  expect(use.bytesAlone).toBe(4 * expertBytes);
});

test('layers that nothing went through say nothing', () => {
  const unused = { layer: 0, counts: new Array<number>(8).fill(0), rows: 0, steps: 0, distinct: 0 };
  expect(expertUse(model, [unused])).toEqual({ layers: [], bytesPerToken: 0, bytesAlone: 0 });
});
