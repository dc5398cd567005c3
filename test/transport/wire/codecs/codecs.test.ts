import { expect, test } from 'vitest';
import { codecNamed, codecNames } from '../../../../transport/wire/codecs/codecs.js';
import { f16 } from '../../../../transport/wire/codecs/f16.js';
import { encode, firstDifference, roundTrip } from './support/rows.js';

test('payloads have exactly the size that the codec promises', () => {
  const bytes = (name: string, rowSize = 1000) => codecNamed(name).encodedBytes(3, rowSize);
  expect(bytes('f32')).toBe(3 * 4000);
  expect(bytes('f16')).toBe(3 * 2000);
  expect(bytes('bf16')).toBe(3 * 2000);
  expect(bytes('fp8')).toBe(3 * (1000 + 4));
  expect(bytes('int8')).toBe(3 * (1000 + 2 * 32));
  expect(bytes('int8', 8192)).toBe(3 * 256 * 34);
  expect(bytes('int8', 33)).toBe(3 * (34 + 3));
});

test.each(codecNames)('%s writes all of its bytes and nothing beside them, anywhere', (name) => {
  const codec = codecNamed(name);
  const values = Float32Array.from({ length: 2 * 77 }, (_, i) => Math.sin(i));
  const length = codec.encodedBytes(2, 77);
  const expected = encode(codec, values, 2);
  for (let offset = 0; offset < 8; offset++) {
    for (const fill of [0x00, 0xaa]) {
      const room = new Uint8Array(length + 16).fill(fill);
      codec.encode(values, 2, 77, room.subarray(offset, offset + length));
      const beside = [...room.subarray(0, offset), ...room.subarray(offset + length)];
      expect(firstDifference(room.subarray(offset, offset + length), expected)).toBe(-1);
      expect(beside.every((byte) => byte === fill)).toBe(true);
      const decoded = new Float32Array(2 * 77 + 2).fill(9);
      codec.decode(room.subarray(offset, offset + length), 2, 77, decoded.subarray(1, -1));
      expect([decoded[0], decoded.at(-1)]).toEqual([9, 9]);
      expect(firstDifference(decoded.subarray(1, -1), roundTrip(codec, values, 2))).toBe(-1);
    }
  }
});

test.each(codecNames)('%s encodes each row as if it were alone', (name) => {
  const codec = codecNamed(name);
  const rows = [1, 1e-5, NaN, 3e4, 0].map((factor, row) => {
    return Float32Array.from({ length: 45 }, (_, i) => Math.sin(row + i) * factor);
  });
  const together = Float32Array.from(rows.flatMap((row) => [...row]));
  const alone = rows.flatMap((row) => [...encode(codec, row)]);
  expect(firstDifference(encode(codec, together, 5), alone)).toBe(-1);
  const decoded = rows.flatMap((row) => [...roundTrip(codec, row)]);
  expect(firstDifference(roundTrip(codec, together, 5), decoded)).toBe(-1);
});

test('f16 keeps every half', () => {
  const bytes = Uint8Array.from({ length: 2 * 65536 }, (_, i) => (i % 2 === 0 ? i >> 1 : i >> 9));
  const values = new Float32Array(65536);
  f16.decode(bytes, 1, 65536, values);
  expect(firstDifference(roundTrip(f16, values), values)).toBe(-1);
});
