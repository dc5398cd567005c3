import { fewRows } from '../../step/tiles.js';
import type { Backend } from './backend.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import { unsupportedOp } from './devices.js';
import { rowBlock, type PlacedTensor } from './placed-tensor.js';
import { SmallGraph } from './small-graph.js';

/**
 * Ways to multiply a matrix with few rows. ggml has kernels for one row and for several, some of which round
 * differently; as planes of one row each, or as products of their own, rows meet the kernel for one.
 */
export type Way = 'together' | 'as planes' | 'one by one';

/** The fastest first; the last is right by its nature. */
export const ways: readonly Way[] = ['together', 'as planes', 'one by one'];

/** How many rows are multiplied at a time: rest rows meet another kernel in some types, so rows of zeros fill up. */
export const multiples: readonly number[] = [1, 2, 4, 8, 16];

/** How rows get the same bits whatever the other rows of a product. */
export interface ProductRule {
  /** For at most `fewRows`. */
  readonly few: Way;
  /** More rows are filled up to a multiple of this. */
  readonly multiple: number;
}

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
  const rowBytes = columns * Float32Array.BYTES_PER_ELEMENT;
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
  const missing = (multiple - (rows % multiple)) % multiple;
  if (missing === 0) return ggml.mulMat(context, matrix, x);
  const product = ggml.mulMat(context, matrix, ggml.pad(context, x, 0, missing, 0, 0));
  const outputs = ggml.rowCount(matrix);
  const rowBytes = outputs * Float32Array.BYTES_PER_ELEMENT;
  return ggml.view2d(context, product, outputs, rows, rowBytes, 0);
}

/** Outputs of a matrix that rules are tried with. */
const triedOutputs = 64;

/** Numbers of rows that are tried, beyond few ones. */
const triedRows = [128, 127, 100, 65, 64, 33, 31, 20, 19, 18, 17] as const;

/**
 * The fastest rule by which rows get their bits, tried with a part of a matrix.
 * @throws EngineError 'memory', 'compute'
 */
export async function fastestRule(
  ggml: Ggml,
  backend: Backend,
  matrix: PlacedTensor,
): Promise<ProductRule> {
  const [columns = 1, allOutputs = 1] = matrix.tensor.shape;
  const outputs = Math.min(allOutputs, triedOutputs);
  const inputs = Float32Array.from({ length: triedRows[0] * columns }, (_, i) => Math.sin(i * i));
  /** @returns undefined when the device cannot compute them */
  const products = async (first: number, rows: number, rule: Partial<ProductRule> = {}) => {
    using graph = new SmallGraph(ggml, backend.device, (context) => {
      const part = rowBlock(ggml, context, matrix, 0, outputs);
      const input = ggml.newTensor2d(context, tensorType.f32, columns, rows);
      const { few = 'together', multiple = 1 } = rule;
      return { input, result: multiply(ggml, context, part, input, { few, multiple }) };
    });
    if (unsupportedOp(ggml, backend.device, graph.graph) !== undefined) return undefined;
    graph.setInput(inputs.subarray(first * columns, (first + rows) * columns));
    await backend.compute(graph.graph);
    const result = new Float32Array(rows * outputs);
    graph.getResult(result);
    return result;
  };
  const gives = async (
    expected: Float32Array,
    counts: Iterable<number>,
    rule: Partial<ProductRule>,
  ) => {
    for (const rows of counts) {
      const given = await products(0, rows, rule);
      if (!given || !equalBits(given, expected.subarray(0, given.length))) return false;
    }
    return true;
  };

  const alone = new Float32Array(fewRows * outputs);
  for (let row = 0; row < fewRows; row++) alone.set((await products(row, 1)) ?? [], row * outputs);
  const fewCounts = Array.from({ length: fewRows - 1 }, (_, i) => i + 2);
  const few = await firstOf(ways, (way) => gives(alone, fewCounts, { few: way }));
  const many = (await products(0, triedRows[0])) ?? alone;
  const multiple = await firstOf(multiples, (of) => gives(many, triedRows, { multiple: of }));
  return { few, multiple };
}

/** The first that holds, or the last. */
async function firstOf<Value>(
  values: readonly Value[],
  holds: (value: Value) => Promise<boolean>,
): Promise<Value> {
  for (const value of values.slice(0, -1)) if (await holds(value)) return value;
  return values.at(-1) as Value;
}

export function equalBits(a: Float32Array, b: Float32Array): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array) =>
    Buffer.from(buffer, byteOffset, byteLength);
  return bytes(a).equals(bytes(b));
}
