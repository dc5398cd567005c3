import { expect, test } from 'vitest';
import { StepCostEstimate } from '../../stage/step-cost.js';
import { cellsEach, segmentOf } from './support/segments.js';

const text = Array.from({ length: cellsEach }, (_, i) => i);
const rows = (count: number, sequence = 1) => segmentOf(text.slice(0, count), 0, sequence);

test('steps of a size are known by their mean, in which old ones fade', () => {
  const estimate = new StepCostEstimate();
  expect(estimate.times).toEqual([]);
  for (let i = 0; i < 50; i++) estimate.add([rows(1)], 5);
  for (let i = 0; i < 50; i++) estimate.add([rows(40)], 90);
  const [small, large] = estimate.times;
  expect(small).toMatchObject({ tokens: 1, cells: cellsEach });
  expect(small?.ms).toBeCloseTo(5);
  expect(large?.ms).toBeCloseTo(90);
  for (let i = 0; i < 50; i++) estimate.add([rows(40)], 30);
  expect(estimate.times[1]?.ms).toBeCloseTo(30, 1);
  expect(estimate.times[0]?.ms).toBeCloseTo(5);
});

test('one step is worth one, and many no more than some', () => {
  const estimate = new StepCostEstimate();
  estimate.add([rows(2)], 1);
  expect(estimate.times[0]?.steps).toBe(1);
  for (let i = 0; i < 50; i++) estimate.add([rows(2)], 1);
  expect(estimate.times[0]?.steps).toBeCloseTo(5, 1);
});

test('several texts in a step count with all their rows, and the cells that a row looks at', () => {
  const long = rows(3, 2);
  const wide = { ...long, visible: { ...long.visible, windowLength: 5 * cellsEach } };
  const estimate = new StepCostEstimate();
  estimate.add([rows(1), wide], 7);
  expect(estimate.times).toEqual([{ steps: 1, tokens: 4, cells: 4 * cellsEach, ms: 7 }]);
});
