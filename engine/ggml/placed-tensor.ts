import type { TensorInfo } from '../../model/tensor-source.js';
import { tensorBuffer, type Ggml, type Pointer } from './bindings.js';

/** A model's tensor in memory. */
export interface PlacedTensor {
  readonly tensor: TensorInfo;
  readonly pointer: Pointer;
  /** Name of the buffer type that it is in. */
  readonly buffer: string;
}

/** A tensor of ggml's like that of the model, without memory. */
export function describe(ggml: Ggml, context: Pointer, { type, shape }: TensorInfo): Pointer {
  const [columns = 1, rows] = shape;
  return rows === undefined
    ? ggml.newTensor1d(context, type.id, columns)
    : ggml.newTensor2d(context, type.id, columns, rows);
}

/**
 * A tensor of some rows of a matrix, laid over their place in it: buffers that rearrange matrices know no views.
 * @param offset bytes in the model's tensor, of a row whose number is a multiple of 64
 */
export function rowBlock(
  ggml: Ggml,
  context: Pointer,
  { tensor, pointer }: PlacedTensor,
  offset: number,
  rows: number,
): Pointer {
  const block = ggml.newTensor2d(context, tensor.type.id, tensor.shape[0] ?? 1, rows);
  ggml.placeTensor(tensorBuffer(pointer), block, ggml.tensorData(pointer) + BigInt(offset));
  return block;
}
