import { expect, test } from 'vitest';
import { percentile } from '../../bench/percentile.js';

const hundred = Array.from({ length: 100 }, (_, i) => ((i * 37) % 100) + 1);

test.each([
  [0.01, 1],
  [0.5, 50],
  [0.501, 51],
  [0.99, 99],
  [0.995, 100],
  [1, 100],
])('%d of 1 to 100, in any order, are at most %d', (share, value) => {
  expect(percentile(hundred, share)).toBe(value);
});

test('of few values, the highest is the 99th percentile', () => {
  expect(percentile([3, 1, 2], 0.99)).toBe(3);
  expect(percentile([3, 1, 2], 0.5)).toBe(2);
  expect(percentile([4, 3, 1, 2], 0.5)).toBe(2);
  expect(percentile([7], 0.01)).toBe(7);
});

test('of none, there is none', () => {
  expect(percentile([], 0.5)).toBeNaN();
});
