import { describe, expect, test } from 'vitest';
import { int8 } from '../../../../transport/wire/codecs/int8.js';
import {
  adversarialRows,
  encode,
  firstDifference,
  largestFinite,
  roundTrip,
  rowSizes,
} from './support/rows.js';

/** The value of a finite positive half, by the definition of the format. */
function valueOfHalf(half: number): number {
  const exponent = half >> 10;
  const fraction = (half & 1023) / 1024;
  return exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14;
}

const largestHalf = 0x7bff;

/** The smallest half that is not below a value, by search; at most the largest. */
function halfNotBelow(value: number): number {
  let low = 0;
  let high = largestHalf;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (valueOfHalf(middle) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

function wholeSteps(value: number, scale: number): number {
  if (Number.isNaN(value) || scale === 0) return 0;
  return roundToEven(Math.max(-127, Math.min(127, value / scale)));
}

/** What a row is to become, by the definition of the codec. */
function expected(row: Float32Array): { bytes: number[]; decoded: Float32Array } {
  const bytes: number[] = [];
  const decoded = new Float32Array(row.length);
  for (let from = 0; from < row.length; from += 32) {
    const block = row.subarray(from, from + 32);
    const half = halfNotBelow(Math.fround(largestFinite(block) / 127));
    const steps = Int8Array.from(block, (value) => wholeSteps(value, valueOfHalf(half)));
    bytes.push(half & 255, half >> 8, ...new Uint8Array(steps.buffer));
    steps.forEach((count, i) => (decoded[from + i] = count * valueOfHalf(half)));
  }
  return { bytes, decoded };
}

describe('int8', () => {
  test('equals its definition bit for bit, whatever the row', () => {
    for (const rowSize of rowSizes)
      for (const [kind, row] of adversarialRows(rowSize).entries()) {
        const where = `row ${kind} of ${rowSize} values`;
        const { bytes, decoded } = expected(row);
        expect(firstDifference(encode(int8, row), bytes), where).toBe(-1);
        expect(firstDifference(roundTrip(int8, row), decoded), where).toBe(-1);
      }
  });

  test('is within half a step of every finite value in reach', () => {
    for (const row of adversarialRows(8192)) {
      const decoded = roundTrip(int8, row);
      const worst = row.findIndex((value, i) => {
        const from = i - (i % 32);
        const largest = largestFinite(row.subarray(from, from + 32));
        if (!Number.isFinite(value) || largest > 127 * valueOfHalf(largestHalf)) return false;
        // A half is at most 2^-10, or when subnormal 2^-24, above the scale asked for.
        const step = (largest / 127) * (1 + 2 ** -10) + 2 ** -24;
        return Math.abs((decoded[i] ?? NaN) - value) > step / 2;
      });
      expect(worst).toBe(-1);
    }
  });

  test('decodes every byte under every kind of scale', () => {
    for (const half of [0, 1, 0x3ff, 0x400, 0x3c00, largestHalf]) {
      const bytes = Uint8Array.from({ length: 8 * 34 }, (_, i) => {
        const inBlock = i % 34;
        if (inBlock < 2) return inBlock === 0 ? half & 255 : half >> 8;
        return Math.floor(i / 34) * 32 + inBlock - 2;
      });
      const decoded = new Float32Array(256);
      int8.decode(bytes, 1, 256, decoded);
      const signed = Float32Array.from(decoded, (_, i) => (i < 128 ? i : i - 256));
      const exact = signed.map((value) => value * valueOfHalf(half));
      expect(firstDifference(decoded, exact)).toBe(-1);
    }
  });

  test('rounds ties to even', () => {
    const row = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5);
    expect([...roundTrip(int8, row)]).toEqual([127, 0, 2, 2, 0, -2]);
  });

  test('is monotone within a block', () => {
    const row = Float32Array.from({ length: 32 }, (_, i) => (i - 15.3) * 0.37);
    const decoded = roundTrip(int8, row);
    for (let i = 1; i < 32; i++) expect(decoded[i]).toBeGreaterThan(decoded[i - 1] ?? NaN);
  });

  test('makes NaN zero and saturates infinities, block by block', () => {
    const row = new Float32Array(33).fill(5);
    row.set([NaN, Infinity, -Infinity, 127]);
    expect([...roundTrip(int8, row)].slice(0, 5)).toEqual([0, 127, -127, 127, 5]);
    expect(roundTrip(int8, row)[32]).toBeCloseTo(5, 2);
  });

  test('saturates what the largest scale does not reach', () => {
    const most = 127 * 65504;
    const row = Float32Array.of(3e38, -3e38, most, 1e7, 65504, 1);
    expect([...roundTrip(int8, row)]).toEqual([most, -most, most, most, 65504, 0]);
  });
});
