import { elementType } from './api.js';

/** Makes typed arrays whose memory native code may keep the address of: small ones would move with V8's heap. */
export const fixed = {
  f32: (length: number) => new Float32Array(new ArrayBuffer(4 * length)),
  i32: (length: number) => new Int32Array(new ArrayBuffer(4 * length)),
  i64: (length: number) => new BigInt64Array(new ArrayBuffer(8 * length)),
  i8: (length: number) => new Int8Array(new ArrayBuffer(length)),
  bool: (length: number) => new Uint8Array(new ArrayBuffer(length)),
};

/** Types of arrays that tensors can be made over. */
export type TensorData = Float32Array | Int32Array | BigInt64Array | Int8Array | Uint8Array;

/** The element type that ONNX Runtime has for an array. */
export function elementTypeOf(data: TensorData): number {
  if (data instanceof Float32Array) return elementType.f32;
  if (data instanceof Int32Array) return elementType.i32;
  if (data instanceof Int8Array) return elementType.i8;
  return data instanceof Uint8Array ? elementType.bool : elementType.i64;
}
