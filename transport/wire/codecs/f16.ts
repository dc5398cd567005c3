import type { Codec } from './codec.js';

/** Bits of the f32 for each of the 65536 halves. */
const floatBitsOfHalf = buildFloatBits();
/** The value of each of the 65536 halves. */
export const floatOfHalf = new Float32Array(floatBitsOfHalf.buffer);

/**
 * IEEE 754 half precision, little-endian, 2 bytes per value. Rounds to nearest, ties to even; what is too large
 * becomes infinity, NaN stays NaN (quiet, with the upper payload bits), as the processors' own conversions do.
 */
export const f16: Codec = {
  name: 'f16',
  encodedBytes: (rows, rowSize) => rows * rowSize * 2,
  encode(values, rows, rowSize, into) {
    const count = rows * rowSize;
    // An odd address cannot be seen as 16-bit values; links never have one.
    const halves = into.byteOffset % 2 === 0 ? viewHalves(into, count) : new Uint16Array(count);
    encodeHalves(new Int32Array(values.buffer, values.byteOffset, count), halves);
    if (halves.buffer !== into.buffer) into.set(new Uint8Array(halves.buffer));
  },
  decode(bytes, rows, rowSize, into) {
    const count = rows * rowSize;
    const halves = viewHalves(bytes.byteOffset % 2 === 0 ? bytes : bytes.slice(), count);
    // Through integers, because reading a float may change the bits of a NaN.
    const floatBits = new Uint32Array(into.buffer, into.byteOffset, count);
    for (let i = 0; i < count; i++) floatBits[i] = floatBitsOfHalf[halves[i]!]!;
  },
};

function viewHalves(bytes: Uint8Array, count: number): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, count);
}

function encodeHalves(floatBits: Int32Array, halves: Uint16Array): void {
  for (let i = 0; i < halves.length; i++) {
    const bits = floatBits[i]!;
    const magnitude = bits & 0x7fffffff;
    // From 2^-14 up to where rounding reaches infinity, which the carry into the exponent gives by itself.
    const half =
      magnitude >= 0x38800000 && magnitude < 0x47800000
        ? (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13
        : halfOfExtreme(magnitude);
    halves[i] = ((bits >>> 16) & 0x8000) | half;
  }
}

/** The half for the bits of a positive f32 that is below 2^-14, at least 2^16, or NaN. */
function halfOfExtreme(magnitude: number): number {
  if (magnitude > 0x7f800000) return 0x7e00 | ((magnitude >>> 13) & 0x3ff);
  if (magnitude >= 0x47800000) return 0x7c00;
  if (magnitude < 0x33000000) return 0;
  // A subnormal half counts units of 2^-24.
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - (magnitude >>> 23);
  return (mantissa + (1 << (shift - 1)) - 1 + ((mantissa >>> shift) & 1)) >>> shift;
}

function buildFloatBits(): Uint32Array {
  const table = new Uint32Array(65536);
  const subnormal = new Float32Array(1);
  const subnormalBits = new Uint32Array(subnormal.buffer);
  for (let half = 0; half < 65536; half++) {
    const sign = (half & 0x8000) << 16;
    const exponent = (half >>> 10) & 31;
    const mantissa = half & 0x3ff;
    subnormal[0] = mantissa * 2 ** -24;
    if (exponent === 0) table[half] = sign | subnormalBits[0]!;
    else if (exponent === 31) table[half] = sign | 0x7f800000 | (mantissa << 13);
    else table[half] = sign | ((exponent + 112) << 23) | (mantissa << 13);
  }
  return table;
}
