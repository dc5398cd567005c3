import { describe, expect, test } from 'vitest';
import { codecNamed, codecNames } from '../../../transport/codecs/codecs.js';
import { f16 } from '../../../transport/codecs/f16.js';
import { fp8Code, fp8Max, fp8Value } from '../../../transport/codecs/fp8.js';
import { randomNumbers } from '../support/random.js';

/** Encodes and decodes rows. */
function roundTrip(name: string, values: Float32Array, rows = 1): Float32Array {
  const codec = codecNamed(name);
  const rowSize = values.length / rows;
  const bytes = new Uint8Array(codec.encodedBytes(rows, rowSize));
  codec.encode(values, rows, rowSize, bytes);
  const decoded = new Float32Array(values.length);
  codec.decode(bytes, rows, rowSize, decoded);
  return decoded;
}

/** Rows with magnitudes over the whole range of f32. */
function adversarialRows(rowSize: number): Float32Array[] {
  const random = randomNumbers(rowSize);
  const make = (value: (i: number) => number) =>
    Float32Array.from({ length: rowSize }, (_, i) => value(i));
  return [
    make(() => 0),
    make(() => -0),
    make(() => 3.7),
    make(() => random() * 2 - 1),
    make(() => (random() * 2 - 1) * 1e-42),
    make(() => (random() * 2 - 1) * 3e38),
    make(() => (random() - 0.5) * 2 ** Math.floor(random() * 60 - 30)),
    make((i) => (i === 0 ? 1e6 : random())),
    make((i) => [NaN, Infinity, -Infinity, 1, -2][i % 5] ?? 0),
    make(() => NaN),
    make(() => Infinity),
  ];
}

const sizes = [...Array.from({ length: 130 }, (_, i) => i + 1), 8192, 20_000];

test('payloads have exactly the size that the codec promises', () => {
  const bytes = (name: string) => codecNamed(name).encodedBytes(3, 1000);
  expect(bytes('f32')).toBe(3 * 4000);
  expect(bytes('f16')).toBe(3 * 2000);
  expect(bytes('bf16')).toBe(3 * 2000);
  expect(bytes('fp8')).toBe(3 * (1000 + 4));
  expect(bytes('int8')).toBe(3 * (1000 + 2 * 32));
});

test.each(codecNames)('%s writes nothing beyond its bytes, at any address', (name) => {
  const codec = codecNamed(name);
  const values = Float32Array.from({ length: 2 * 77 }, (_, i) => Math.sin(i));
  const length = codec.encodedBytes(2, 77);
  const expected = new Uint8Array(length);
  codec.encode(values, 2, 77, expected);
  for (let offset = 0; offset < 8; offset++) {
    const room = new Uint8Array(length + 16).fill(0xaa);
    codec.encode(values, 2, 77, room.subarray(offset, offset + length));
    expect(room.subarray(offset, offset + length)).toEqual(expected);
    expect(room.subarray(offset + length).every((byte) => byte === 0xaa)).toBe(true);
    const decoded = new Float32Array(2 * 77 + 1).fill(9);
    codec.decode(room.subarray(offset, offset + length), 2, 77, decoded);
    expect(decoded[2 * 77]).toBe(9);
  }
});

describe('fp8', () => {
  test('codes are those of the table in the OFP8 specification', () => {
    expect(fp8Value(0x00)).toBe(0);
    expect(fp8Value(0x01)).toBe(2 ** -9);
    expect(fp8Value(0x07)).toBe(0.875 * 2 ** -6);
    expect(fp8Value(0x08)).toBe(2 ** -6);
    expect(fp8Value(0x38)).toBe(1);
    expect(fp8Value(0x7e)).toBe(448);
    expect(fp8Value(0xfe)).toBe(-448);
    expect(fp8Value(0x7f)).toBeNaN();
    expect(fp8Value(0xff)).toBeNaN();
  });

  test('every code is the nearest to its own value, and to those around it', () => {
    for (let code = 0; code < 0x7e; code++) {
      const [value, next] = [fp8Value(code), fp8Value(code + 1)];
      expect(next).toBeGreaterThan(value);
      expect(fp8Code(value)).toBe(code);
      const middle = (value + next) / 2;
      expect(fp8Code(middle)).toBe(code % 2 === 0 ? code : code + 1);
      expect(fp8Code(middle - value * 1e-6 - 1e-12)).toBe(code);
      expect(fp8Code(middle + value * 1e-6 + 1e-12)).toBe(code + 1);
      if (code > 0) expect(fp8Code(-value)).toBe(code | 0x80);
    }
    expect(fp8Code(1e9)).toBe(0x7e);
    expect(fp8Code(-Infinity)).toBe(0xfe);
  });

  test('the fast path equals the definition, bit for bit', () => {
    for (const rowSize of sizes)
      for (const row of adversarialRows(rowSize)) {
        const bytes = new Uint8Array(4 + rowSize);
        codecNamed('fp8').encode(row, 1, rowSize, bytes);
        const scale = new DataView(bytes.buffer).getFloat32(0, true);
        const largest = row.reduce(
          (a, b) => (Number.isFinite(b) ? Math.max(a, Math.abs(b)) : a),
          0,
        );
        expect(scale).toBe(Math.fround(largest / fp8Max));
        const inverse = scale === 0 ? 0 : 1 / scale;
        const expected = Uint8Array.from(row, (value) => fp8Code(Math.fround(value * inverse)));
        expect(Buffer.compare(bytes.subarray(4), expected)).toBe(0);
        const decoded = roundTrip('fp8', row);
        const values = Float32Array.from(expected, (code) => fp8Value(code) * scale);
        expect(Buffer.compare(Buffer.from(decoded.buffer), Buffer.from(values.buffer))).toBe(0);
      }
  });

  test('is within 2^-4 of values that are normal at the row scale, and monotone', () => {
    const random = randomNumbers(5);
    const row = Float32Array.from({ length: 8192 }, () => (random() * 2 - 1) ** 3 * 20).sort();
    const decoded = roundTrip('fp8', row);
    const largest = Math.max(...row.map(Math.abs));
    row.forEach((value, i) => {
      const error = Math.abs((decoded[i] as number) - value);
      if (Math.abs(value) >= (largest / fp8Max) * 2 ** -6)
        expect(error).toBeLessThanOrEqual(Math.abs(value) * 2 ** -4);
      if (i > 0) expect(decoded[i]).toBeGreaterThanOrEqual(decoded[i - 1] as number);
    });
  });

  test('keeps NaN, saturates infinities, and leaves other rows alone', () => {
    const decoded = roundTrip('fp8', Float32Array.of(NaN, Infinity, -Infinity, 2, 7, 7, 7, 7), 2);
    expect([...decoded]).toEqual([NaN, 2, -2, 2, 7, 7, 7, 7]);
  });
});

describe('int8', () => {
  test('is within half a step of every finite value, the scale never too small', () => {
    for (const rowSize of sizes)
      for (const row of adversarialRows(rowSize)) {
        const decoded = roundTrip('int8', row);
        for (let from = 0; from < rowSize; from += 32) {
          const block = row.subarray(from, from + 32);
          const largest = block.reduce(
            (a, b) => (Number.isFinite(b) ? Math.max(a, Math.abs(b)) : a),
            0,
          );
          if (largest / 127 > 65504) continue;
          const step = (largest / 127) * (1 + 2 ** -10) + 2 ** -24;
          block.forEach((value, i) => {
            const got = decoded[from + i] as number;
            if (Number.isNaN(value)) expect(got).toBe(0);
            else if (Number.isFinite(value))
              expect(Math.abs(got - value)).toBeLessThanOrEqual(step / 2 + 1e-30);
            else expect(Math.sign(got)).toBe(largest === 0 ? 0 : Math.sign(value));
          });
        }
      }
  });

  test('rounds ties to even', () => {
    const row = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5);
    expect([...roundTrip('int8', row)].map((value) => value + 0)).toEqual([127, 0, 2, 2, 0, -2]);
  });
});

describe('bf16', () => {
  test('is the upper half of the nearest value', () => {
    const random = randomNumbers(9);
    const bits = Uint32Array.from({ length: 100_000 }, () => Math.floor(random() * 2 ** 32));
    const values = new Float32Array(bits.buffer);
    const decoded = new Uint32Array(roundTrip('bf16', values).buffer);
    bits.forEach((value, i) => {
      const got = decoded[i] as number;
      if ((value & 0x7fffffff) > 0x7f800000) {
        expect(got & 0x7fffffff).toBeGreaterThan(0x7f800000);
        return;
      }
      const [below, above] = [value & 0xffff0000, (value & 0xffff0000) + 0x10000].map(
        (x) => x >>> 0,
      );
      const rest = value & 0xffff;
      const isEven = ((value >>> 16) & 1) === 0;
      expect(got).toBe(rest < 0x8000 || (rest === 0x8000 && isEven) ? below : above);
    });
  });
});

test('f16 keeps every half', () => {
  const bytes = Uint8Array.from({ length: 2 * 65536 }, (_, i) => (i % 2 === 0 ? i >> 1 : i >> 9));
  const values = new Float32Array(65536);
  f16.decode(bytes, 1, 65536, values);
  const again = roundTrip('f16', values);
  again.forEach((value, i) => expect(Object.is(value, values[i])).toBe(true));
});
