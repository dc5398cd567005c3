import { describe, expect, test } from 'vitest';
import { codecNamed, codecNames } from '../../../../transport/wire/codecs/codecs.js';
import { f16 } from '../../../../transport/wire/codecs/f16.js';
import { f32 } from '../../../../transport/wire/codecs/f32.js';
import { TransportError } from '../../../../transport/wire/errors.js';
import { randomNumbers } from '../../support/random.js';

/** The value of a half, by the definition of the format. */
function valueOfHalf(half: number): number {
  const sign = half >> 15 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = (half & 1023) / 1024;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * (1 + fraction) * 2 ** (exponent - 15) : sign * fraction * 2 ** -14;
}

/** Finite halves from zero up; the last stands for infinity, where the next larger half would be. */
const magnitudes = Array.from({ length: 0x7c00 }, (_, half) => valueOfHalf(half)).concat(2 ** 16);

/** The nearest half by search; of two as near the one with an even bit pattern. */
function nearestHalf(value: number): number {
  const sign = Object.is(value, -0) || value < 0 ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  let low = 0;
  let high = magnitudes.length - 1;
  if (magnitude >= 2 ** 16) return sign | high;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((magnitudes[middle] ?? NaN) <= magnitude) low = middle;
    else high = middle;
  }
  // Differences and sums of such values are exact in 64 bits.
  const toLow = magnitude - (magnitudes[low] ?? NaN);
  const toHigh = (magnitudes[high] ?? NaN) - magnitude;
  const upwards = toHigh < toLow || (toHigh === toLow && low % 2 === 1);
  return sign | (upwards ? high : low);
}

function encode(values: Float32Array): Uint16Array {
  const bytes = new Uint8Array(f16.encodedBytes(1, values.length));
  f16.encode(values, 1, values.length, bytes);
  return new Uint16Array(bytes.buffer);
}

function decode(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length);
  f16.decode(new Uint8Array(halves.buffer), 1, halves.length, values);
  return values;
}

const allHalves = Uint16Array.from({ length: 65536 }, (_, half) => half);

/** Bit patterns compared as numbers, reported by the first that differs. */
function expectHalves(halves: Uint16Array, values: Float32Array): void {
  const wrong = halves.findIndex((half, i) => half !== nearestHalf(values[i] ?? NaN));
  const value = values[wrong] ?? 0;
  expect(wrong, `${value} became ${halves[wrong]}, not ${nearestHalf(value)}`).toBe(-1);
}

describe('f16', () => {
  test('decodes every half to its value', () => {
    const values = decode(allHalves);
    const wrong = allHalves.findIndex((half) => !Object.is(values[half], valueOfHalf(half)));
    expect(wrong).toBe(-1);
  });

  test('encodes the value of every half to that half', () => {
    const numbers = allHalves.filter((half) => (half & 0x7fff) <= 0x7c00);
    const halves = encode(decode(numbers));
    expect(halves.findIndex((half, i) => half !== numbers[i])).toBe(-1);
  });

  test('keeps NaN', () => {
    const nan = Float32Array.of(NaN, -NaN);
    const bits = new Uint32Array(nan.buffer);
    for (const pattern of [0x7fc00000, 0x7f800001, 0xff800001, 0xffffffff]) {
      bits[0] = pattern;
      const [half = 0] = encode(nan);
      expect(half & 0x7c00).toBe(0x7c00);
      expect(half & 0x03ff).not.toBe(0);
    }
  });

  test('rounds to nearest and ties to even between all neighbours', () => {
    const values: number[] = [];
    for (let half = 0; half < 0x7c00; half++) {
      const low = magnitudes[half] ?? NaN;
      const middle = (low + (magnitudes[half + 1] ?? NaN)) / 2;
      const bits = new Uint32Array(Float32Array.of(middle).buffer);
      const beside = new Float32Array(
        Uint32Array.of((bits[0] ?? 0) - 1, (bits[0] ?? 0) + 1).buffer,
      );
      values.push(middle, ...beside);
    }
    for (const sign of [1, -1]) {
      const signed = Float32Array.from(values, (value) => sign * value);
      expectHalves(encode(signed), signed);
    }
  });

  test('rounds random bit patterns of all magnitudes to the nearest half', () => {
    const random = randomNumbers(6);
    const bits = Uint32Array.from({ length: 100_000 }, () => random() * 2 ** 32);
    const values = new Float32Array(bits.buffer).filter((value) => !Number.isNaN(value));
    expectHalves(encode(values), values);
    // Most patterns above are out of range: the same again where halves lie.
    const near = Float32Array.from({ length: 100_000 }, () => {
      return (random() - 0.5) * 2 ** (Math.floor(random() * 44) - 26);
    });
    expectHalves(encode(near), near);
  });

  test('makes the smallest zero and the largest infinite, with their sign', () => {
    const values = Float32Array.of(2 ** -25, -(2 ** -25), -0, 65519.99, 65520, -1e38, -Infinity);
    expect([...encode(values)]).toEqual([0, 0x8000, 0x8000, 0x7bff, 0x7c00, 0xfc00, 0xfc00]);
  });
});

describe.each([f32, f16])('$name', (codec) => {
  test('encodes and decodes rows at any address, and nothing beside them', () => {
    const random = randomNumbers(7);
    const [rows, rowSize] = [3, 37];
    const size = codec.encodedBytes(rows, rowSize);
    for (let shift = 0; shift < 8; shift++) {
      const around = Float32Array.from({ length: rows * rowSize + 8 }, () => random() - 0.5);
      const values = around.subarray(shift, shift + rows * rowSize);
      const bytes = new Uint8Array(size + 16).fill(0xaa);
      const place = bytes.subarray(shift, shift + size);
      codec.encode(values, rows, rowSize, place);
      expect([...bytes.subarray(0, shift), ...bytes.subarray(shift + size)]).toEqual(
        Array.from({ length: 16 }, () => 0xaa),
      );
      const decoded = new Float32Array(rows * rowSize + 2).fill(7);
      codec.decode(place, rows, rowSize, decoded.subarray(1, -1));
      expect([decoded[0], decoded.at(-1)]).toEqual([7, 7]);
      const worst = values.reduce((most, value, i) => {
        return Math.max(most, Math.abs(value - (decoded[i + 1] ?? NaN)));
      }, 0);
      expect(worst).toBeLessThanOrEqual(codec === f32 ? 0 : 2 ** -13);
    }
  });
});

describe('codecs', () => {
  test('are found by name', () => {
    for (const name of codecNames) expect(codecNamed(name).name).toBe(name);
    expect(codecNames).toEqual(expect.arrayContaining(['f32', 'f16']));
  });

  test('that do not exist are refused with the names of those that do', () => {
    expect(() => codecNamed('mp3')).toThrow(TransportError);
    expect(() => codecNamed('mp3')).toThrow(/"mp3".*f32/);
  });
});
