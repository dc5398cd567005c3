import { elementType } from '../runtime/api.js';
import type { SharedConstant } from '../runtime/shared-weights.js';
import { blockSize, type Matrix } from '../weights/layout.js';
import type { Graph } from './graph.js';
import { microsoft, type Initializer } from './model-proto.js';

/** What the op for a product needs to know of a matrix. */
export type MatrixSizes = Pick<Matrix, 'inputSize' | 'outputSize' | 'format'>;

/**
 * Adds a product.
 * @param x name of f32 [1, n, inputSize]
 * @param values as `valuesOf` gives them
 * @param scales as `scalesOf` gives them; not used with 32 bits
 * @returns name of f32 [1, n, outputSize]
 */
export function addProduct(
  graph: Graph,
  x: string,
  { inputSize, outputSize, format }: MatrixSizes,
  values: Initializer,
  scales: Initializer,
): string {
  const stored = graph.add(values);
  if (format.bits === 32) {
    const rows = graph.node('Reshape', [x, graph.list([-1, inputSize])]);
    const product = graph.node('Gemm', [rows, stored], { transB: 1 });
    return graph.node('Reshape', [product, graph.list([1, -1, outputSize])]);
  }
  return graph.node(
    'MatMulNBits',
    [x, stored, graph.add(scales)],
    {
      K: inputSize,
      N: outputSize,
      bits: format.bits,
      block_size: blockSize,
      // Activations as 8-bit blocks, as in ggml: several times faster than f32.
      accuracy_level: 4,
    },
    microsoft,
  );
}

/** A matrix's values, where they are in its file. */
export function valuesOf({ name, parts, ...sizes }: Matrix): SharedConstant {
  return { name: `${name} values`, ...valuesInfo(sizes), data: parts.values };
}

/** The scales of its blocks. */
export function scalesOf({ name, parts, ...sizes }: Matrix): SharedConstant {
  return { name: `${name} scales`, ...blocksInfo(sizes), data: parts.scales };
}

/** The offsets of its blocks. */
export function offsetsOf({ name, parts, ...sizes }: Matrix): SharedConstant {
  return { name: `${name} offsets`, ...blocksInfo(sizes), data: parts.offsets };
}

export function valuesInfo({ inputSize, outputSize, format }: MatrixSizes) {
  if (format.bits === 32) return { type: elementType.f32, shape: [outputSize, inputSize] };
  const bytesPerBlock = (blockSize * format.bits) / 8;
  return { type: elementType.u8, shape: [outputSize, inputSize / blockSize, bytesPerBlock] };
}

export function blocksInfo({ inputSize, outputSize }: MatrixSizes) {
  return { type: elementType.f32, shape: [outputSize, inputSize / blockSize] };
}
