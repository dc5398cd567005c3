import type { Codec } from './codec.js';
import { largestFiniteBits, scratchBits, scratchFloats, scratchValues } from './scratch.js';

/** The largest value of E4M3. */
const fp8Max = 448;

/** Bytes of a row's scale, in front of its values. */
const scaleBytes = 4;

const codeOfBits = buildCodes();
const valueOfCode = Float32Array.from({ length: 256 }, (_, code) => fp8Value(code));
const scaled = new Float32Array(256);
const magnitudes = new Float32Array(1);
const magnitudeBits = new Uint32Array(magnitudes.buffer);

/**
 * OCP 8-bit floating point E4M3 (OCP OFP8 1.0): each row is a little-endian f32 scale, the row's largest finite
 * magnitude / 448, and one byte per value: the code nearest to the f32 value / scale, ties to even. Infinities become
 * ±448 × scale, NaN stays NaN.
 */
export const fp8: Codec = {
  name: 'fp8',
  encodedBytes: (rows, rowSize) => rows * (scaleBytes + rowSize),
  encode(values, rows, rowSize, into) {
    const bits = new Int32Array(values.buffer, values.byteOffset, rows * rowSize);
    const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
    for (let row = 0; row < rows; row++) {
      const from = row * rowSize;
      const scale = rowScale(bits, from, from + rowSize);
      const start = row * (scaleBytes + rowSize);
      view.setFloat32(start, scale, true);
      encodeRow(values, from, rowSize, scale, into.subarray(start + scaleBytes));
    }
  },
  decode(bytes, rows, rowSize, into) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let row = 0; row < rows; row++) {
      const start = row * (scaleBytes + rowSize);
      const scale = view.getFloat32(start, true);
      for (let code = 0; code < 256; code++) scaled[code] = valueOfCode[code]! * scale;
      const from = row * rowSize;
      const first = start + scaleBytes;
      lookUpValues(bytes, first, rowSize, scaled, into, from);
    }
  },
};

/** Largest finite magnitude / 448, rounded to f32. */
function rowScale(bits: Int32Array, from: number, to: number): number {
  magnitudeBits[0] = largestFiniteBits(bits, from, to);
  magnitudes[0] = magnitudes[0]! / fp8Max;
  return magnitudes[0];
}

function encodeRow(
  values: Float32Array,
  from: number,
  count: number,
  scale: number,
  into: Uint8Array,
): void {
  // In double precision, so that the smallest scales do not overflow their inverse. Scale 0 makes zeros of everything
  // finite anyway; a factor of 0 would make NaN of infinities.
  const inverse = scale === 0 ? 1 : 1 / scale;
  for (let done = 0; done < count; done += scratchValues) {
    const part = Math.min(scratchValues, count - done);
    multiply(values, from + done, part, inverse, scratchFloats);
    lookUpCodes(scratchBits, part, codeOfBits, into.subarray(done));
  }
}

function multiply(
  values: Float32Array,
  from: number,
  count: number,
  factor: number,
  into: Float32Array,
): void {
  let i = 0;
  for (; i + 3 < count; i += 4) {
    into[i] = values[from + i]! * factor;
    into[i + 1] = values[from + i + 1]! * factor;
    into[i + 2] = values[from + i + 2]! * factor;
    into[i + 3] = values[from + i + 3]! * factor;
  }
  for (; i < count; i++) into[i] = values[from + i]! * factor;
}

function lookUpValues(
  codes: Uint8Array,
  first: number,
  count: number,
  values: Float32Array,
  into: Float32Array,
  from: number,
): void {
  for (let i = 0; i < count; i++) into[from + i] = values[codes[first + i]!]!;
}

/**
 * Four at a time, as loop overhead shows. The lower half of a value only decides ties: all that matters of it is
 * whether it was zero.
 */
function lookUpCodes(bits: Int32Array, count: number, codes: Uint8Array, into: Uint8Array): void {
  let i = 0;
  for (; i + 3 < count; i += 4) {
    const a = bits[i]!;
    const b = bits[i + 1]!;
    const c = bits[i + 2]!;
    const d = bits[i + 3]!;
    into[i] = codes[(a >>> 16) | (((a & 0xffff) + 0xffff) >>> 16)]!;
    into[i + 1] = codes[(b >>> 16) | (((b & 0xffff) + 0xffff) >>> 16)]!;
    into[i + 2] = codes[(c >>> 16) | (((c & 0xffff) + 0xffff) >>> 16)]!;
    into[i + 3] = codes[(d >>> 16) | (((d & 0xffff) + 0xffff) >>> 16)]!;
  }
  for (; i < count; i++) {
    const value = bits[i]!;
    into[i] = codes[(value >>> 16) | (((value & 0xffff) + 0xffff) >>> 16)]!;
  }
}

/** The code for the upper half of every f32, its last bit standing for whatever follows. */
function buildCodes(): Uint8Array {
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  return Uint8Array.from({ length: 65536 }, (_, upper) => {
    bits[0] = upper << 16;
    return fp8Code(float[0]!);
  });
}

/** The plain definition of the encoding: the code nearest to a value, the even one of two. */
function fp8Code(value: number): number {
  const sign = Object.is(value, -0) || value < 0 ? 0x80 : 0;
  if (Number.isNaN(value)) return 0x7f;
  const magnitude = Math.min(Math.abs(value), fp8Max);
  const exponent = Math.max(-6, Math.floor(Math.log2(magnitude)));
  const units = roundToEven(magnitude / 2 ** (exponent - 3));
  // Below 8 units the value is subnormal; 16 carry into the next exponent by themselves.
  return sign | (units < 8 ? units : ((exponent + 6) << 3) + units);
}

/** The plain definition of the decoding: the value of a code. */
function fp8Value(code: number): number {
  const sign = code & 0x80 ? -1 : 1;
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  if (exponent === 15 && mantissa === 7) return NaN;
  return sign * (exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10));
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
