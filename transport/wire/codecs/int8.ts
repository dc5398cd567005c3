import type { Codec } from './codec.js';
import { floatOfHalf } from './f16.js';
import {
  infinityBits,
  largestFiniteBits,
  largestMagnitudeBits,
  scratchBits,
  scratchFloats,
} from './scratch.js';

const blockSize = 32;
const scaleBytes = 2;
const int8Max = 127;

/** Added to a small number, this rounds it to a whole one, ties to even, in the lowest bits of the f32. */
const rounder = 1.5 * 2 ** 23;

const scale = new Float32Array(1);
const scaleBits = new Uint32Array(scale.buffer);

/** The largest finite half, and the f32 bits from which halves are normal. */
const largestHalf = 0x7bff;
const firstNormalBits = 0x38800000;

/**
 * Signed bytes in blocks of 32 values, each behind a little-endian f16 scale, the block's largest finite magnitude /
 * 127 (rounded up, so that no value is out of reach); the last block of a row may be shorter. Rounds to nearest, ties to
 * even. Infinities, and what the largest half × 127 does not reach, become ±127 × scale; NaN becomes 0.
 */
export const int8: Codec = {
  name: 'int8',
  encodedBytes: (rows, rowSize) => rows * rowBytes(rowSize),
  encode(values, rows, rowSize, into) {
    const bits = new Int32Array(values.buffer, values.byteOffset, rows * rowSize);
    let at = 0;
    for (let row = 0; row < rows; row++) {
      const end = (row + 1) * rowSize;
      for (let from = row * rowSize; from < end; from += blockSize)
        at = encodeBlock(values, bits, from, Math.min(from + blockSize, end), into, at);
    }
  },
  decode(bytes, rows, rowSize, into) {
    const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    for (let row = 0; row < rows; row++) {
      const end = (row + 1) * rowSize;
      for (let from = row * rowSize; from < end; from += blockSize) {
        const blockEnd = Math.min(from + blockSize, end);
        const factor = floatOfHalf[bytes[at]! | (bytes[at + 1]! << 8)]!;
        at += scaleBytes;
        for (let i = from; i < blockEnd; i++) into[i] = signed[at++]! * factor;
      }
    }
  },
};

function rowBytes(rowSize: number): number {
  return rowSize + scaleBytes * Math.ceil(rowSize / blockSize);
}

/** @returns where the next block begins */
function encodeBlock(
  values: Float32Array,
  bits: Int32Array,
  from: number,
  to: number,
  into: Uint8Array,
  at: number,
): number {
  const largest = largestMagnitudeBits(bits, from, to);
  const isFinite = largest < infinityBits;
  const half = scaleHalf(isFinite ? largest : largestFiniteBits(bits, from, to));
  into[at] = half;
  into[at + 1] = half >>> 8;
  const inverse = half === 0 ? 0 : 1 / floatOfHalf[half]!;
  const count = to - from;
  // The largest half may be less than the scale that the block needs.
  const round = isFinite && half < largestHalf ? roundInReach : roundAny;
  round(values, from, count, inverse, scratchFloats);
  copyBytes(scratchBits, count, into, at + scaleBytes);
  return at + scaleBytes + count;
}

type Round = (
  values: Float32Array,
  from: number,
  count: number,
  inverse: number,
  into: Float32Array,
) => void;

/** Four at a time, as loop overhead shows. */
const roundInReach: Round = (values, from, count, inverse, into) => {
  let i = 0;
  for (; i + 3 < count; i += 4) {
    into[i] = values[from + i]! * inverse + rounder;
    into[i + 1] = values[from + i + 1]! * inverse + rounder;
    into[i + 2] = values[from + i + 2]! * inverse + rounder;
    into[i + 3] = values[from + i + 3]! * inverse + rounder;
  }
  for (; i < count; i++) into[i] = values[from + i]! * inverse + rounder;
};

const roundAny: Round = (values, from, count, inverse, into) => {
  for (let i = 0; i < count; i++) into[i] = inReach(values[from + i]! * inverse) + rounder;
};

function copyBytes(bits: Int32Array, count: number, into: Uint8Array, at: number): void {
  let i = 0;
  for (; i + 3 < count; i += 4) {
    into[at + i] = bits[i]!;
    into[at + i + 1] = bits[i + 1]!;
    into[at + i + 2] = bits[i + 2]!;
    into[at + i + 3] = bits[i + 3]!;
  }
  for (; i < count; i++) into[at + i] = bits[i]!;
}

function inReach(value: number): number {
  return Number.isNaN(value) ? 0 : Math.max(-int8Max, Math.min(int8Max, value));
}

/** The half that is not below a magnitude / 127, at most the largest. */
function scaleHalf(magnitudeBits: number): number {
  scaleBits[0] = magnitudeBits;
  scale[0] = scale[0]! / int8Max;
  const bits = scaleBits[0];
  if (bits >= firstNormalBits) return Math.min(largestHalf, (bits - 0x38000000 + 0x1fff) >>> 13);
  // Subnormal halves count units of 2^-24.
  return Math.ceil(scale[0] * 2 ** 24);
}
