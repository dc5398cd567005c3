import { expect, test } from 'vitest';
import { Refutations } from '../../engine/refutations.js';
import type { StageStep } from '../../engine/stage-runner.js';
import { stepOf } from '../transport/support/steps.js';

function step(id: number, follows: number, tokens: number[], outputs: number[]): StageStep {
  return {
    ...stepOf(tokens.length, id),
    follows,
    tokens: Int32Array.from(tokens),
    outputs: Int32Array.from(outputs),
  };
}

test('a step is for nothing when its first token is not what the one before it chose', () => {
  const refutations = new Refutations();
  expect(refutations.refutes(step(2, 1, [7], [0]))).toBe(false);
  refutations.computed(step(1, 0, [5], [0]), Int32Array.of(7));
  expect(refutations.refutes(step(2, 1, [7, 8], [0, 1]))).toBe(false);
  expect(refutations.refutes(step(2, 1, [6, 8], [0, 1]))).toBe(true);
});

test('so is one that follows a step with a wrong guess in it, or one that was dropped', () => {
  const refutations = new Refutations();
  refutations.computed(step(1, 0, [5, 6, 7], [0, 1, 2]), Int32Array.of(6, 99, 8));
  expect(refutations.refutes(step(2, 1, [8], [0]))).toBe(true);
  refutations.dropped(2);
  expect(refutations.refutes(step(3, 2, [9], [0]))).toBe(true);
});

test('only guesses are judged: not a prompt, whose tokens are certain', () => {
  const refutations = new Refutations();
  refutations.computed(step(1, 0, [5, 6, 7], [2]), Int32Array.of(8));
  expect(refutations.refutes(step(2, 1, [8], [0]))).toBe(false);
  expect(refutations.refutes(step(2, 1, [9], [0]))).toBe(true);
  expect(refutations.refutes(step(2, 0, [9], [0]))).toBe(false);
  refutations.computed(step(3, 0, [5, 6], []), new Int32Array(0));
  expect(refutations.refutes(step(4, 3, [1], [0]))).toBe(false);
});

test('old steps are forgotten', () => {
  const refutations = new Refutations();
  for (let id = 1; id <= 1000; id++) refutations.computed(step(id, 0, [5], [0]), Int32Array.of(7));
  expect(refutations.refutes(step(2, 1, [6], [0]))).toBe(false);
  expect(refutations.refutes(step(2, 1000, [6], [0]))).toBe(true);
});
