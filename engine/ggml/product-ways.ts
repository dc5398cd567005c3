import type { Backend } from './backend.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import { unsupportedOp } from './devices.js';
import { rowBlock, type PlacedTensor } from './placed-tensor.js';
import { SmallGraph } from './small-graph.js';

/** Products of at most this many rows give every row the bits that it gets alone. */
export const fewRows = 16;

/**
 * Ways to multiply a matrix with few rows. ggml has kernels for one row and for several, some of which round
 * differently; as planes of one row each, or as products of their own, rows meet the kernel for one.
 */
export type Way = 'together' | 'as planes' | 'one by one';

/** The fastest first; the last is right by its nature. */
export const ways: readonly Way[] = ['together', 'as planes', 'one by one'];

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
  way: Way,
): Pointer {
  if (way === 'together') return ggml.mulMat(context, matrix, x);
  const rows = ggml.rowCount(x);
  const columns = ggml.elementCount(x) / rows;
  if (way === 'as planes') {
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

/** Outputs of a matrix that ways are tried with. */
const triedOutputs = 64;

/**
 * The fastest way in which rows get the bits that they get alone, tried with a part of a matrix.
 * @throws EngineError 'memory', 'compute'
 */
export async function fastestWay(ggml: Ggml, backend: Backend, matrix: PlacedTensor): Promise<Way> {
  const [columns = 1, allOutputs = 1] = matrix.tensor.shape;
  const outputs = Math.min(allOutputs, triedOutputs);
  const inputs = Float32Array.from({ length: fewRows * columns }, (_, i) => Math.sin(i * i));
  /** @returns undefined when the device cannot compute them */
  const products = async (first: number, rows: number, way: Way) => {
    using graph = new SmallGraph(ggml, backend.device, (context) => {
      const part = rowBlock(ggml, context, matrix, 0, outputs);
      const input = ggml.newTensor2d(context, tensorType.f32, columns, rows);
      return { input, result: multiply(ggml, context, part, input, way) };
    });
    if (unsupportedOp(ggml, backend.device, graph.graph) !== undefined) return undefined;
    graph.setInput(inputs.subarray(first * columns, (first + rows) * columns));
    await backend.compute(graph.graph);
    const result = new Float32Array(rows * outputs);
    graph.getResult(result);
    return result;
  };

  const alone = new Float32Array(fewRows * outputs);
  for (let row = 0; row < fewRows; row++)
    alone.set((await products(row, 1, 'together')) ?? [], row * outputs);
  const givesBits = async (way: Way) => {
    for (let rows = 2; rows <= fewRows; rows++) {
      const given = await products(0, rows, way);
      if (!given || !equalBits(given, alone.subarray(0, rows * outputs))) return false;
    }
    return true;
  };
  for (const way of ways.slice(0, -1)) if (await givesBits(way)) return way;
  return ways.at(-1) as Way;
}

function equalBits(a: Float32Array, b: Float32Array): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array) =>
    Buffer.from(buffer, byteOffset, byteLength);
  return bytes(a).equals(bytes(b));
}
