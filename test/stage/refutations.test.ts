import { expect, test } from 'vitest';
import { wantChoice, wantLogprobs, wantNothing, type Segment } from '../../step/step.js';
import { Refutations } from '../../stage/refutations.js';
import { segmentOf } from './support/segments.js';

function segment(follows: number, tokens: number[], want?: number[], sequence = 1): Segment {
  const whole = segmentOf(tokens, 0, sequence, follows);
  return want ? { ...whole, want: Uint8Array.from(want) } : whole;
}

test('a segment is for nothing when its first token is not what the one before it chose', () => {
  const refutations = new Refutations();
  expect(refutations.refutes(segment(1, [7]))).toBe(false);
  refutations.computed(1, segment(0, [5]), Int32Array.of(7));
  expect(refutations.refutes(segment(1, [7, 8]))).toBe(false);
  expect(refutations.refutes(segment(1, [6, 8]))).toBe(true);
});

test('so is one that follows a segment with a wrong guess in it, or one that was dropped', () => {
  const refutations = new Refutations();
  refutations.computed(1, segment(0, [5, 6, 7]), Int32Array.of(6, 99, 8));
  expect(refutations.refutes(segment(1, [8]))).toBe(true);
  refutations.dropped(2, 1);
  expect(refutations.refutes(segment(2, [9]))).toBe(true);
});

test('only guesses are judged: not a prompt, whose tokens are certain', () => {
  const refutations = new Refutations();
  const prompt = segment(0, [5, 6, 7], [wantNothing, wantNothing, wantLogprobs(2)]);
  refutations.computed(1, prompt, Int32Array.of(8));
  expect(refutations.refutes(segment(1, [8]))).toBe(false);
  expect(refutations.refutes(segment(1, [9]))).toBe(true);
  expect(refutations.refutes(segment(0, [9]))).toBe(false);
  refutations.computed(3, segment(0, [5, 6], [wantNothing, wantNothing]), new Int32Array(0));
  expect(refutations.refutes(segment(3, [1]))).toBe(false);
  refutations.computed(4, segment(0, [5, 6], [wantChoice, wantNothing]), Int32Array.of(7));
  expect(refutations.refutes(segment(4, [1]))).toBe(true);
});

test('what one sequence chose says nothing about another in the same step', () => {
  const refutations = new Refutations();
  refutations.computed(1, segment(0, [5], undefined, 1), Int32Array.of(7));
  refutations.computed(1, segment(0, [5], undefined, 2), Int32Array.of(8));
  expect(refutations.refutes(segment(1, [7], undefined, 1))).toBe(false);
  expect(refutations.refutes(segment(1, [7], undefined, 2))).toBe(true);
  expect(refutations.refutes(segment(1, [7], undefined, 3))).toBe(false);
});

test('old steps are forgotten', () => {
  const refutations = new Refutations();
  for (let id = 1; id <= 10_000; id++) refutations.computed(id, segment(0, [5]), Int32Array.of(7));
  expect(refutations.refutes(segment(2, [6]))).toBe(false);
  expect(refutations.refutes(segment(10_000, [6]))).toBe(true);
});
