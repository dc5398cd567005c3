import { expect, test } from 'vitest';
import { StepCostEstimate } from '../../stage/step-cost.js';

test('a line is learnt, and followed when it changes', () => {
  const estimate = new StepCostEstimate();
  for (let i = 0; i < 50; i++) estimate.add(1 + (i % 7) * 40, 5 + (1 + (i % 7) * 40) * 2);
  expect(estimate.cost.fixedMs).toBeCloseTo(5, 3);
  expect(estimate.cost.perRowMs).toBeCloseTo(2, 5);
  for (let i = 0; i < 300; i++) estimate.add(1 + (i % 7) * 40, 30 + (1 + (i % 7) * 40) * 4);
  expect(estimate.cost.fixedMs).toBeCloseTo(30, 1);
});

test('steps of one size do not tell, nor do larger ones that cost less', () => {
  const unknown = { fixedMs: 0, perRowMs: 0 };
  const estimate = new StepCostEstimate();
  expect(estimate.cost).toEqual(unknown);
  for (let i = 0; i < 9; i++) estimate.add(1, 16);
  expect(estimate.cost).toEqual(unknown);
  for (let i = 0; i < 9; i++) estimate.add(64, 8);
  expect(estimate.cost).toEqual(unknown);
});
