import type { Codec } from './codec.js';

/** IEEE 754 half precision, round to nearest even; too large values become infinite, NaN stays NaN. */
export const f16: Codec = {
  name: 'f16',
  encodedBytes: (rows, rowSize) => rows * rowSize * 2,
  encode(values, rows, rowSize, into) {
    const bits = new Uint32Array(values.buffer, values.byteOffset, rows * rowSize);
    for (let i = 0; i < bits.length; i++) {
      const half = halfFromBits(bits[i] as number);
      into[2 * i] = half;
      into[2 * i + 1] = half >>> 8;
    }
  },
  decode(bytes, rows, rowSize, into) {
    const count = rows * rowSize;
    for (let i = 0; i < count; i++)
      into[i] = floats[(bytes[2 * i] as number) | ((bytes[2 * i + 1] as number) << 8)] as number;
  },
};

/** Per sign and exponent of a float: the half's bits for a zero mantissa, and how far the mantissa is shifted. */
const base = new Uint16Array(512);
const shift = new Uint8Array(512);
/** Every half as a float. */
const floats = new Float32Array(65536);

for (let i = 0; i < 512; i++) {
  const sign = (i & 0x100) << 7;
  const exponent = (i & 0xff) - 127;
  if (exponent < -25) fill(i, sign, 31);
  else if (exponent < -14) fill(i, sign, -1 - exponent);
  else if (exponent < 16) fill(i, sign | ((exponent + 15) << 10), 13);
  else fill(i, sign | 0x7c00, 31);
}
for (let half = 0; half < 65536; half++) floats[half] = floatFromHalf(half);

function fill(index: number, halfBase: number, mantissaShift: number): void {
  base[index] = halfBase;
  shift[index] = mantissaShift;
}

function halfFromBits(bits: number): number {
  const index = bits >>> 23;
  const mantissa = bits & 0x7fffff;
  if ((index & 0xff) === 0xff && mantissa !== 0) return (base[index] as number) | 0x200;
  const by = shift[index] as number;
  if (by === 31) return base[index] as number;
  // Subnormal halves have no implicit one, so the float's becomes visible.
  const full = by === 13 ? mantissa : mantissa | 0x800000;
  const rest = full & ((1 << by) - 1);
  const half = (base[index] as number) + (full >>> by);
  const middle = 1 << (by - 1);
  return rest > middle || (rest === middle && (half & 1) === 1) ? half + 1 : half;
}

function floatFromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0x1f) return mantissa ? NaN : sign * Infinity;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}
