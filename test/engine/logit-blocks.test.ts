import { describe, expect, test } from 'vitest';
import { LogitBlocks } from '../../engine/sampling/logit-blocks.js';
import { Random } from '../support/random.js';

const random = new Random(21);
const logitsOf = (length: number) =>
  Float32Array.from({ length }, () => Math.round(random.share() * 6000) / 100);
const indices = (logits: Float32Array) => Array.from(logits.keys());

describe.each([1, 3, 255, 256, 257, 1026, 20_003])('blocks of %i logits', (length) => {
  const logits = logitsOf(length);
  const max = Math.max(...logits);
  const blocks = new LogitBlocks(logits);

  test('know the likeliest token, the smaller of equal ones', () => {
    expect(blocks.max).toBe(max);
    expect(blocks.likeliest()).toBe(logits.indexOf(max));
  });

  test.each([-1, 20, 59.5, 70])('find all tokens of %d and more', (floor) => {
    const expected = indices(logits).filter((token) => logits[token]! >= floor);
    expect([...blocks.atLeast(floor)]).toEqual(expected);
  });

  test.each([1, 2, 40, 10_000])('know a logit that %i tokens reach', (count) => {
    const sorted = [...logits].sort((a, b) => b - a);
    expect(blocks.reachedBy(count)).toBeLessThanOrEqual(sorted[count - 1] ?? sorted.at(-1)!);
  });

  test('sum probabilities, and within bounds where only some blocks are read', () => {
    const expected = logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0);
    expect(blocks.mass().most / expected).toBeCloseTo(1, 9);
    const steep = new LogitBlocks(logits.map((logit, token) => logit - token / 20));
    const { least, most } = steep.mass();
    for (const reach of [0.01, 5, 20]) {
      expect(steep.mass(reach).least).toBeLessThanOrEqual(least);
      expect(steep.mass(reach).most).toBeGreaterThanOrEqual(most);
    }
  });
});

test('logits that rule tokens out, or none at all, do no harm', () => {
  const logits = new Float32Array(1000).fill(-Infinity);
  expect(new LogitBlocks(logits).likeliest()).toBe(0);
  logits[700] = -5;
  const blocks = new LogitBlocks(logits);
  expect(blocks.likeliest()).toBe(700);
  expect(blocks.mass()).toEqual({ least: 1, most: 1 });
  expect([...blocks.atLeast(-6)]).toEqual([700]);
  expect(new LogitBlocks(logits.fill(NaN)).likeliest()).toBe(0);
});
