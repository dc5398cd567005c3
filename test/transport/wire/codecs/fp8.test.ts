import { describe, expect, test } from 'vitest';
import { fp8 } from '../../../../transport/wire/codecs/fp8.js';
import { randomNumbers } from '../../support/random.js';
import {
  adversarialRows,
  encode,
  firstDifference,
  largestFinite,
  roundTrip,
  rowSizes,
} from './support/rows.js';

/** The value of a code, by the definition of E4M3. */
function valueOfCode(code: number): number {
  const sign = code >> 7 ? -1 : 1;
  const exponent = (code >> 3) & 15;
  const fraction = (code & 7) / 8;
  if ((code & 0x7f) === 0x7f) return NaN;
  return exponent ? sign * (1 + fraction) * 2 ** (exponent - 7) : sign * fraction * 2 ** -6;
}

/** Values of the codes from zero up to 448. */
const magnitudes = Array.from({ length: 0x7f }, (_, code) => valueOfCode(code));

/** The nearest code by search; of two as near the even one. */
function nearestCode(value: number): number {
  if (Number.isNaN(value)) return 0x7f;
  const sign = Object.is(value, -0) || value < 0 ? 0x80 : 0;
  const magnitude = Math.abs(value);
  const above = magnitudes.findIndex((next) => next >= magnitude);
  if (above === -1) return sign | 0x7e;
  if (above === 0) return sign;
  const toLow = magnitude - (magnitudes[above - 1] ?? NaN);
  const toHigh = (magnitudes[above] ?? NaN) - magnitude;
  const upwards = toHigh < toLow || (toHigh === toLow && above % 2 === 0);
  return sign | (upwards ? above : above - 1);
}

/** What a row is to become, by the definition of the codec. */
function expected(row: Float32Array): { scale: number; codes: Uint8Array; decoded: Float32Array } {
  const scale = Math.fround(largestFinite(row) / 448);
  const codes = Uint8Array.from(row, (value) => {
    const hasNoRatio = scale === 0 && Number.isFinite(value);
    return nearestCode(hasNoRatio ? Math.sign(value) * 0 : Math.fround(value / scale));
  });
  return { scale, codes, decoded: Float32Array.from(codes, (code) => valueOfCode(code) * scale) };
}

function scaleOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer).getFloat32(0, true);
}

/** A row whose scale is 1: codes of its values are those of the values themselves. */
function rowOfScaleOne(values: readonly number[]): Float32Array {
  return Float32Array.of(448, ...values);
}

describe('fp8', () => {
  test('decodes every code to its value times the scale', () => {
    for (const scale of [1, 0.3, 2 ** -149, 7e35, 0]) {
      const bytes = Uint8Array.from({ length: 4 + 256 }, (_, i) => i - 4);
      new DataView(bytes.buffer).setFloat32(0, scale, true);
      const values = new Float32Array(256);
      fp8.decode(bytes, 1, 256, values);
      const exact = Float32Array.from(values, (_, code) => valueOfCode(code) * Math.fround(scale));
      expect(firstDifference(values, exact)).toBe(-1);
    }
  });

  test('knows the values that the specification names', () => {
    const named = [448, 2 ** -6, 0.875 * 2 ** -6, 2 ** -9, 1, 0, -448, NaN];
    const bytes = encode(fp8, Float32Array.from(named));
    expect([...bytes]).toEqual([
      ...[0, 0, 0x80, 0x3f],
      ...[0x7e, 0x08, 0x07, 0x01, 0x38, 0x00, 0xfe, 0x7f],
    ]);
    expect([...roundTrip(fp8, Float32Array.from(named))]).toEqual(named);
  });

  test('rounds to nearest and ties to even between all neighbours', () => {
    const values = magnitudes.slice(1).flatMap((high, low) => {
      const middle = (high + (magnitudes[low] ?? NaN)) / 2;
      const bits = new Uint32Array(Float32Array.of(middle).buffer)[0] ?? 0;
      return [middle, ...new Float32Array(Uint32Array.of(bits - 1, bits + 1).buffer)];
    });
    const row = rowOfScaleOne([...values, ...values.map((value) => -value)]);
    const codes = encode(fp8, row).subarray(4);
    expect(firstDifference(codes, Uint8Array.from(row, nearestCode))).toBe(-1);
  });

  test('equals its definition bit for bit, whatever the row', () => {
    for (const rowSize of rowSizes)
      for (const [kind, row] of adversarialRows(rowSize).entries()) {
        const where = `row ${kind} of ${rowSize} values`;
        const { scale, codes, decoded } = expected(row);
        const bytes = encode(fp8, row);
        expect(scaleOf(bytes), where).toBe(scale);
        expect(firstDifference(bytes.subarray(4), codes), where).toBe(-1);
        expect(firstDifference(roundTrip(fp8, row), decoded), where).toBe(-1);
      }
  });

  test('is within 2^-4 of values that are normal at the row scale, and monotone', () => {
    const random = randomNumbers(5);
    const row = Float32Array.from({ length: 8192 }, () => (random() * 2 - 1) ** 3 * 20).sort();
    const decoded = roundTrip(fp8, row);
    const normal = (largestFinite(row) / 448) * 2 ** -6;
    row.forEach((value, i) => {
      const got = decoded[i] ?? NaN;
      if (Math.abs(value) >= normal)
        expect(Math.abs(got - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -4);
      if (i > 0) expect(got).toBeGreaterThanOrEqual(decoded[i - 1] ?? NaN);
    });
  });

  test('keeps NaN and saturates infinities, without touching other values', () => {
    const row = Float32Array.of(NaN, Infinity, -Infinity, 2, -1);
    expect([...roundTrip(fp8, row)]).toEqual([NaN, 2, -2, 2, -1]);
    const onlyZeros = Float32Array.of(Infinity, 0, -0, -Infinity);
    expect([...roundTrip(fp8, onlyZeros)]).toEqual([0, 0, -0, -0]);
  });
});
