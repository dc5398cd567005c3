import { expect, test } from 'vitest';
import { poissonArrivals } from '../../bench/arrivals.js';

const gapsOf = (arrivals: readonly number[]) =>
  arrivals.slice(1).map((at, i) => at - (arrivals[i] as number));

test('the first arrives at once, the others after it', () => {
  const arrivals = poissonArrivals(50, 2, 1);
  expect(arrivals).toHaveLength(50);
  expect(arrivals[0]).toBe(0);
  expect(Math.min(...gapsOf(arrivals))).toBeGreaterThan(0);
});

test('gaps are exponential, with the mean that was asked for', () => {
  const gaps = gapsOf(poissonArrivals(20_001, 4, 7));
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  expect(mean / 250).toBeCloseTo(1, 1);
  for (const share of [0.1, 0.5, 1, 2, 3]) {
    const longer = gaps.filter((gap) => gap > share * 250).length / gaps.length;
    expect(Math.abs(longer - Math.exp(-share))).toBeLessThan(0.015);
  }
});

test('a seed has one schedule, and another seed another', () => {
  expect(poissonArrivals(9, 1, 3)).toEqual(poissonArrivals(9, 1, 3));
  expect(poissonArrivals(9, 1, 3)).not.toEqual(poissonArrivals(9, 1, 4));
  const [slow, fast] = [poissonArrivals(9, 1, 3), poissonArrivals(9, 10, 3)];
  slow.forEach((at, i) => expect(fast[i]).toBeCloseTo(at / 10));
});
