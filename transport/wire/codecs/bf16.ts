import type { Codec } from './codec.js';

/** The upper half of an f32, little-endian: rounds to nearest, ties to even; NaN stays NaN. */
export const bf16: Codec = {
  name: 'bf16',
  encodedBytes: (rows, rowSize) => rows * rowSize * 2,
  encode(values, rows, rowSize, into) {
    const count = rows * rowSize;
    const bits = new Int32Array(values.buffer, values.byteOffset, count);
    // An odd address cannot be seen as 16-bit values; links never have one.
    const aligned = into.byteOffset % 2 === 0;
    const halves = aligned
      ? new Uint16Array(into.buffer, into.byteOffset, count)
      : new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      const value = bits[i]!;
      halves[i] =
        (value & 0x7fffffff) > 0x7f800000
          ? (value >>> 16) | 0x40
          : (value + 0x7fff + ((value >>> 16) & 1)) >>> 16;
    }
    if (!aligned) into.set(new Uint8Array(halves.buffer));
  },
  decode(bytes, rows, rowSize, into) {
    const count = rows * rowSize;
    const source = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
    const halves = new Uint16Array(source.buffer, source.byteOffset, count);
    const bits = new Uint32Array(into.buffer, into.byteOffset, count);
    for (let i = 0; i < count; i++) bits[i] = halves[i]! << 16;
  },
};
