import type { TensorType } from '../../../model/gguf/tensor-types.js';
import { openDequantizer } from '../../../model/native/dequantizer.js';
import { bfloatToNumber, halfAt, halfToNumber } from './half.js';

/** Turns stored values into f32. @param bytes whole blocks @param into receives as many values */
export type Decode = (bytes: Uint8Array, into: Float32Array) => void;

/**
 * How values of a type become f32. The types that the engine computes with exactly are decoded here; for the others
 * ggml is asked.
 * @throws ModelError when ggml's library is not installed, or knows no way either
 */
export function decoderOf(type: TensorType): Decode {
  return decoders[type.name] ?? openDequantizer(type);
}

const decoders: Readonly<Record<string, Decode>> = {
  f32: (bytes, into) => new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes),
  f16: (bytes, into) => decodeWords(bytes, into, halfToNumber),
  bf16: (bytes, into) => decodeWords(bytes, into, bfloatToNumber),
  q8_0: (bytes, into) =>
    eachBlock(bytes, 34, (at, value) => {
      const scale = halfAt(bytes, at);
      for (let i = 0; i < 32; i++) into[value + i] = scale * ((bytes[at + 2 + i]! << 24) >> 24);
    }),
  q4_0: (bytes, into) =>
    eachBlock(bytes, 18, (at, value) => {
      const scale = halfAt(bytes, at);
      decodeNibbles(bytes, at + 2, into, value, scale, -8 * scale);
    }),
  q4_1: (bytes, into) =>
    eachBlock(bytes, 20, (at, value) =>
      decodeNibbles(bytes, at + 4, into, value, halfAt(bytes, at), halfAt(bytes, at + 2)),
    ),
};

function eachBlock(
  bytes: Uint8Array,
  blockBytes: number,
  decode: (at: number, value: number) => void,
): void {
  for (let at = 0, value = 0; at < bytes.byteLength; at += blockBytes, value += 32)
    decode(at, value);
}

/** The low nibbles of 16 bytes are the first half of a block, the high ones the second. */
function decodeNibbles(
  bytes: Uint8Array,
  at: number,
  into: Float32Array,
  value: number,
  scale: number,
  offset: number,
): void {
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + i]!;
    into[value + i] = (byte & 15) * scale + offset;
    into[value + 16 + i] = (byte >> 4) * scale + offset;
  }
}

function decodeWords(
  bytes: Uint8Array,
  into: Float32Array,
  valueOf: (bits: number) => number,
): void {
  for (let i = 0; i < into.length; i++) into[i] = valueOf(bytes[2 * i]! | (bytes[2 * i + 1]! << 8));
}
