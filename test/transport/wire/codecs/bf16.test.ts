import { describe, expect, test } from 'vitest';
import { bf16 } from '../../../../transport/wire/codecs/bf16.js';
import { anyBits, encode, firstDifference, roundTrip } from './support/rows.js';

/** The bits of an f32 rounded to its upper half by the definition: the nearer neighbour, of two as near the even one. */
function nearestHalf(bits: number): number {
  const below = bits >>> 16;
  const rest = bits & 0xffff;
  const upwards = rest > 0x8000 || (rest === 0x8000 && below % 2 === 1);
  return upwards ? below + 1 : below;
}

function isNan(bits: number): boolean {
  return (bits & 0x7fffffff) > 0x7f800000;
}

describe('bf16', () => {
  test('is the upper half of the nearest value, for random bits and at every tie', () => {
    const ties = Uint32Array.from({ length: 3 * 65536 }, (_, i) => {
      return (Math.floor(i / 3) << 16) + 0x7fff + (i % 3);
    });
    for (const all of [new Uint32Array(anyBits(100_000).buffer), ties]) {
      const bits = all.filter((pattern) => !isNan(pattern));
      const halves = new Uint16Array(encode(bf16, new Float32Array(bits.buffer)).buffer);
      expect(firstDifference(halves, Uint16Array.from(bits, nearestHalf))).toBe(-1);
    }
  });

  test('decodes every code to its value', () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, half) => half);
    const decoded = new Uint32Array(65536);
    bf16.decode(new Uint8Array(halves.buffer), 1, 65536, new Float32Array(decoded.buffer));
    expect(decoded.findIndex((bits, half) => bits !== half * 65536)).toBe(-1);
  });

  test('keeps NaN, infinities and the sign of zero', () => {
    const patterns = [0x7fc00000, 0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff];
    const values = new Float32Array(Uint32Array.from(patterns).buffer);
    expect(roundTrip(bf16, values).every(Number.isNaN)).toBe(true);
    const special = Float32Array.of(Infinity, -Infinity, 0, -0, 3.4028235e38);
    expect([...roundTrip(bf16, special)]).toEqual([Infinity, -Infinity, 0, -0, Infinity]);
  });
});
