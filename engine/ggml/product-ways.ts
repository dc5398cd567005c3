import { fewRows } from '../../step/tiles.js';
import type { Ggml, Pointer } from './bindings.js';

/**
 * Ways to multiply a matrix with few rows. ggml has kernels for one row and for several, some of which round
 * differently; as planes of one row each, or as products of their own, rows meet the kernel for one.
 */
export type Way = 'together' | 'as planes' | 'one by one';

/** The fastest first; the last is right by its nature. */
export const ways: readonly Way[] = ['together', 'as planes', 'one by one'];

/** The same for heads with matrices of their own, which are planes already. */
export const waysOfHeads: readonly Way[] = ['together', 'as planes'];

/** How many rows are multiplied at a time: rest rows meet another kernel in some types, so rows of zeros fill up. */
export const multiples: readonly number[] = [1, 2, 4, 8, 16];

/** How rows get the same bits whatever the other rows of a product. */
export interface ProductRule {
  /** For at most `fewRows`. */
  readonly few: Way;
  /** More rows are filled up to a multiple of this. */
  readonly multiple: number;
}

const f32Bytes = Float32Array.BYTES_PER_ELEMENT;

/**
 * @param matrix [columns, outputs]
 * @param x [columns, rows]
 * @returns [outputs, rows]
 */
export function multiply(
  ggml: Ggml,
  context: Pointer,
  matrix: Pointer,
  x: Pointer,
  { few, multiple }: ProductRule,
): Pointer {
  const rows = ggml.rowCount(x);
  if (rows > fewRows) return multiplyFilled(ggml, context, matrix, x, multiple);
  if (rows === 1 || few === 'together') return ggml.mulMat(context, matrix, x);
  const columns = ggml.elementCount(x) / rows;
  if (few === 'as planes') {
    const planes = ggml.reshape3d(context, x, columns, 1, rows);
    const product = ggml.mulMat(context, matrix, planes);
    return ggml.reshape2d(context, product, ggml.rowCount(matrix), rows);
  }
  const rowBytes = columns * f32Bytes;
  const row = (index: number) =>
    ggml.view3d(context, x, columns, 1, 1, rowBytes, rowBytes, index * rowBytes);
  let product = ggml.mulMat(context, matrix, row(0));
  for (let index = 1; index < rows; index++)
    product = ggml.concat(context, product, ggml.mulMat(context, matrix, row(index)), 1);
  return product;
}

function multiplyFilled(
  ggml: Ggml,
  context: Pointer,
  matrix: Pointer,
  x: Pointer,
  multiple: number,
): Pointer {
  const rows = ggml.rowCount(x);
  const missing = missingRows(rows, multiple);
  if (missing === 0) return ggml.mulMat(context, matrix, x);
  const product = ggml.mulMat(context, matrix, ggml.pad(context, x, 0, missing, 0, 0));
  const outputs = ggml.rowCount(matrix);
  return ggml.view2d(context, product, outputs, rows, outputs * f32Bytes, 0);
}

/**
 * Every head with a matrix of its own.
 * @param matrices [columns, outputs, heads]
 * @param x [columns, heads, rows], contiguous
 * @returns [outputs, heads, rows]
 */
export function multiplyHeads(
  ggml: Ggml,
  context: Pointer,
  matrices: Pointer,
  x: Pointer,
  heads: number,
  { few, multiple }: ProductRule,
): Pointer {
  const rows = ggml.rowCount(x) / heads;
  const columns = ggml.elementCount(x) / (heads * rows);
  const outputs = ggml.rowCount(matrices) / heads;
  if (rows === 1 || (rows <= fewRows && few !== 'together')) {
    const planes = ggml.reshape4d(context, x, columns, 1, heads, rows);
    return ggml.reshape3d(context, ggml.mulMat(context, matrices, planes), outputs, heads, rows);
  }
  const missing = rows > fewRows ? missingRows(rows, multiple) : 0;
  const filled = missing === 0 ? x : ggml.pad(context, x, 0, 0, missing, 0);
  const product = ggml.mulMat(context, matrices, ggml.permute(context, filled, 0, 2, 1, 3));
  const byRow = ggml.contiguous(context, ggml.permute(context, product, 0, 2, 1, 3));
  const headBytes = outputs * f32Bytes;
  return missing === 0
    ? byRow
    : ggml.view3d(context, byRow, outputs, heads, rows, headBytes, heads * headBytes, 0);
}

function missingRows(rows: number, multiple: number): number {
  return (multiple - (rows % multiple)) % multiple;
}
