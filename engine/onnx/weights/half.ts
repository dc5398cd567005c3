/** Values of all 65,536 halves: faster than arithmetic, and made only when there are halves. */
let table: Float32Array | undefined;

/** The value of an IEEE half. @param bits 0 to 65535 */
export function halfToNumber(bits: number): number {
  return (table ??= Float32Array.from({ length: 1 << 16 }, (_, i) => valueOf(i)))[bits] as number;
}

/** The value of a half, little-endian, within bytes. */
export function halfAt(bytes: Uint8Array, at: number): number {
  return halfToNumber(bytes[at]! | (bytes[at + 1]! << 8));
}

/** The value of a bfloat16, which is the upper half of an f32. @param bits 0 to 65535 */
export function bfloatToNumber(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

const scratch = new DataView(new ArrayBuffer(4));

function valueOf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
