/** Rows up to this long are encoded at once, longer ones in pieces. */
export const scratchValues = 8192;

/**
 * One memory seen as floats and as their bits, for the inner loops of codecs. Both are passed to loops as arguments:
 * that, and never being replaced, makes V8 compile those loops to half the time.
 */
export const scratchFloats = new Float32Array(scratchValues);
export const scratchBits = new Int32Array(scratchFloats.buffer);

/** Bits of infinity; the bits of NaN, without the sign, are larger. */
export const infinityBits = 0x7f800000;

/** Bits of the largest magnitude among values [from, to), infinities and NaN included; 0 when there is none. */
export function largestMagnitudeBits(bits: Int32Array, from: number, to: number): number {
  // Four at a time: each maximum waits for itself only.
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = from;
  for (; i + 3 < to; i += 4) {
    a = Math.max(a, bits[i]! & 0x7fffffff);
    b = Math.max(b, bits[i + 1]! & 0x7fffffff);
    c = Math.max(c, bits[i + 2]! & 0x7fffffff);
    d = Math.max(d, bits[i + 3]! & 0x7fffffff);
  }
  for (; i < to; i++) a = Math.max(a, bits[i]! & 0x7fffffff);
  return Math.max(a, b, c, d);
}

/** The same, of finite values only. */
export function largestFiniteBits(bits: Int32Array, from: number, to: number): number {
  const largest = largestMagnitudeBits(bits, from, to);
  if (largest < infinityBits) return largest;
  let finite = 0;
  for (let i = from; i < to; i++) {
    const magnitude = bits[i]! & 0x7fffffff;
    if (magnitude < infinityBits) finite = Math.max(finite, magnitude);
  }
  return finite;
}
