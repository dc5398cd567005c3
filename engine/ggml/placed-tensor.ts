import type { TensorUse } from '../../model/architectures/recorder.js';
import type { TensorInfo } from '../../model/tensor-source.js';
import { tensorBuffer, type Ggml, type Pointer } from './bindings.js';

/** A model's tensor in memory. */
export interface PlacedTensor {
  readonly tensor: TensorInfo;
  readonly use: TensorUse;
  readonly pointer: Pointer;
  /** Name of the buffer type that it is in. */
  readonly buffer: string;
}

/** A tensor of ggml's like that of the model, without memory. */
export function describe(ggml: Ggml, context: Pointer, { type, shape }: TensorInfo): Pointer {
  const [columns = 1, rows, planes] = shape;
  if (rows === undefined) return ggml.newTensor1d(context, type.id, columns);
  return planes === undefined
    ? ggml.newTensor2d(context, type.id, columns, rows)
    : ggml.newTensor3d(context, type.id, columns, rows, planes);
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

/** The same of the first matrices of several, [columns, rows, matrices]. */
export function headBlock(
  ggml: Ggml,
  context: Pointer,
  { tensor, pointer }: PlacedTensor,
  matrices: number,
): Pointer {
  const [columns = 1, rows = 1] = tensor.shape;
  const block = ggml.newTensor3d(context, tensor.type.id, columns, rows, matrices);
  ggml.placeTensor(tensorBuffer(pointer), block, ggml.tensorData(pointer));
  return block;
}
