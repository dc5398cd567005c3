const bits = new Uint32Array(1);
const value = new Float32Array(bits.buffer);

/** What is between the exponents of a half and of an f32, as a factor. */
const exponentShift = 2 ** 112;

/** The value of an IEEE half. @param half 0 to 65535 */
export function halfToNumber(half: number): number {
  // Infinity and NaN have the largest exponent, which no factor leads to.
  const exponent = (half & 0x7c00) === 0x7c00 ? 0x7f800000 : 0;
  bits[0] = ((half & 0x8000) << 16) | exponent | ((half & 0x7fff) << 13);
  return value[0]! * exponentShift;
}

/** The value of a half, little-endian, within bytes. */
export function halfAt(bytes: Uint8Array, at: number): number {
  return halfToNumber(bytes[at]! | (bytes[at + 1]! << 8));
}

/** The value of a bfloat16, which is the upper half of an f32. @param upper 0 to 65535 */
export function bfloatToNumber(upper: number): number {
  bits[0] = upper << 16;
  return value[0]!;
}
