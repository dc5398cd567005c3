import koffi from 'koffi';
import { ModelError } from '../errors.js';
import type { TensorType } from '../gguf/tensor-types.js';
import { loadGgmlBase } from './libraries.js';

/** The beginning of struct ggml_type_traits (ggml.h). */
const traitsType = koffi.struct({
  type_name: 'const char*',
  blck_size: 'int64',
  blck_size_interleave: 'int64',
  type_size: 'size_t',
  is_quantized: 'bool',
  to_float: 'void*',
});
const toFloatPrototype = koffi.proto('void (const void* values, void* into, int64 count)');

interface Traits {
  readonly type_name: string;
  readonly to_float: bigint | null;
}

/**
 * ggml's own way to turn values of a type into f32.
 * @throws ModelError when its library is not installed, or has none for this type
 */
export function openDequantizer(type: TensorType): (bytes: Uint8Array, into: Float32Array) => void {
  const traitsOf = loadGgmlBase().func('void* ggml_get_type_traits(int)') as (
    type: number,
  ) => bigint | null;
  const address = traitsOf(type.id);
  const traits = address && (koffi.decode(address, traitsType) as Traits);
  // The name tells whether the struct is still laid out like this.
  if (!traits || traits.type_name !== type.name || !traits.to_float)
    throw new ModelError(
      'unsupported',
      `ggml cannot turn ${type.name} into numbers: use another quantization`,
    );
  const toFloat = koffi.decode(traits.to_float, toFloatPrototype) as (
    bytes: Uint8Array,
    into: Float32Array,
    count: number,
  ) => void;
  return (bytes, into) => toFloat(bytes, into, into.length);
}
