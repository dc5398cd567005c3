import type { Codec } from '../../../../../transport/wire/codecs/codec.js';
import { randomNumbers } from '../../../support/random.js';

/** Row sizes around every block boundary, a usual one, and one beyond what codecs work on at once. */
export const rowSizes = [...Array.from({ length: 130 }, (_, i) => i + 1), 8192, 20_000];

/** Rows of special values, and with magnitudes over the whole range of f32. */
export function adversarialRows(rowSize: number): Float32Array[] {
  const random = randomNumbers(rowSize);
  const signed = () => random() * 2 - 1;
  const make = (value: (i: number) => number) =>
    Float32Array.from({ length: rowSize }, (_, i) => value(i));
  return [
    make(() => 0),
    make(() => -0),
    make(() => 3.7),
    make(() => -1e-45),
    make(signed),
    make(() => signed() * 1e-42),
    make(() => signed() * 3.4e38),
    make(() => signed() * 2e7),
    make(() => signed() * 2 ** Math.floor(random() * 60 - 30)),
    make((i) => (i === 0 ? 1e6 : random())),
    make((i) => [NaN, Infinity, -Infinity, 1, -2][i % 5] ?? 0),
    make((i) => [-Infinity, 0, -0, Infinity, 1e-45][i % 5] ?? 0),
    make(() => NaN),
    make(() => Infinity),
    anyBits(rowSize),
  ];
}

/** Values of random bit patterns: every exponent is as likely, infinities and NaN among them. */
export function anyBits(count: number): Float32Array {
  const random = randomNumbers(count + 1);
  return new Float32Array(Uint32Array.from({ length: count }, () => random() * 2 ** 32).buffer);
}

export function encode(codec: Codec, values: Float32Array, rows = 1): Uint8Array {
  const rowSize = values.length / rows;
  const bytes = new Uint8Array(codec.encodedBytes(rows, rowSize));
  codec.encode(values, rows, rowSize, bytes);
  return bytes;
}

/** Encodes and decodes rows. */
export function roundTrip(codec: Codec, values: Float32Array, rows = 1): Float32Array {
  const decoded = new Float32Array(values.length);
  codec.decode(encode(codec, values, rows), rows, values.length / rows, decoded);
  return decoded;
}

/** Largest finite magnitude; 0 when nothing is finite. */
export function largestFinite(values: Float32Array): number {
  return values.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0);
}

/** Where two arrays begin to differ, NaN being NaN and 0 not -0; -1 when they are equal. */
export function firstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  return Array.from(a).findIndex((value, i) => !Object.is(value, b[i]));
}
