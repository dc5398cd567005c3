import type { Codec } from './codec.js';

/** Values as they are, little-endian. */
export const f32: Codec = {
  name: 'f32',
  encodedBytes: (rows, rowSize) => rows * rowSize * 4,
  encode(values, rows, rowSize, into) {
    into.set(new Uint8Array(values.buffer, values.byteOffset, rows * rowSize * 4));
  },
  decode(bytes, rows, rowSize, into) {
    new Uint8Array(into.buffer, into.byteOffset, rows * rowSize * 4).set(bytes);
  },
};
