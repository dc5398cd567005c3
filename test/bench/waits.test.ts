import { expect, test } from 'vitest';
import { decodeMs, summarizeWaits } from '../../bench/waits.js';

test('the first wait is that for the first token, and the others are for those after it', () => {
  expect(decodeMs([100, 10, 20])).toBe(30);
  expect(decodeMs([100])).toBe(0);
});

test('conversations of all measurements count alike', () => {
  const first = [
    [100, 10, 10],
    [200, 20, 20, 80],
    [300, 5],
  ];
  const second = [[400, 15, 15], [500], [600, 20]];
  expect(summarizeWaits([first, second])).toEqual({
    count: 3,
    ttftMs: { p50: 300, p99: 600 },
    // 5, 10, 15, 20 and 40; one had no second token.
    tpotMs: { p50: 15, p99: 40 },
    fairness: 40 / 15,
    longestWaitMs: 600,
  });
});

test('the longest wait may be for a later token', () => {
  expect(summarizeWaits([[[100, 10, 900]]]).longestWaitMs).toBe(900);
});
