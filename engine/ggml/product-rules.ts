import { fewRows } from '../../step/tiles.js';
import type { Backend } from './backend.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import { unsupportedOp } from './devices.js';
import { headBlock, rowBlock, type PlacedTensor } from './placed-tensor.js';
import {
  multiples,
  multiply,
  multiplyHeads,
  ways,
  waysOfHeads,
  type ProductRule,
  type Way,
} from './product-ways.js';
import { SmallGraph } from './small-graph.js';

/** Outputs of a matrix that rules are tried with, and heads. */
const triedOutputs = 64;
const triedHeads = 2;

/** Numbers of rows that are tried, beyond few ones. */
const triedRows = [128, 127, 100, 65, 64, 33, 31, 20, 19, 18, 17] as const;

/** A product of rows with a part of a matrix, or of matrices. */
interface TriedProduct {
  /** Numbers that a row has, and that it gets. */
  readonly inputs: number;
  readonly outputs: number;
  /** The fastest first; the last is right by its nature. */
  readonly ways: readonly Way[];
  /** @param x [inputs, rows] @returns f32 numbers of [outputs, rows] */
  multiply(context: Pointer, x: Pointer, rule: ProductRule): Pointer;
}

/**
 * The fastest rule by which rows get their bits, tried with a part of a matrix.
 * @throws EngineError 'memory', 'compute'
 */
export async function fastestRule(
  ggml: Ggml,
  backend: Backend,
  matrix: PlacedTensor,
): Promise<ProductRule> {
  const tried =
    matrix.use === 'matrices of heads' ? productOfHeads(ggml, matrix) : product(ggml, matrix);
  const { inputs, outputs } = tried;
  const values = Float32Array.from({ length: triedRows[0] * inputs }, (_, i) => Math.sin(i * i));
  /** @returns undefined when the device cannot compute them */
  const products = async (first: number, rows: number, rule: Partial<ProductRule> = {}) => {
    using graph = new SmallGraph(ggml, backend.device, (context) => {
      const input = ggml.newTensor2d(context, tensorType.f32, inputs, rows);
      const { few = 'together', multiple = 1 } = rule;
      return { input, result: tried.multiply(context, input, { few, multiple }) };
    });
    if (unsupportedOp(ggml, backend.device, graph.graph) !== undefined) return undefined;
    graph.setInput(values.subarray(first * inputs, (first + rows) * inputs));
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
  const few = await firstOf(tried.ways, (way) => gives(alone, fewCounts, { few: way }));
  const many = (await products(0, triedRows[0])) ?? alone;
  const multiple = await firstOf(multiples, (of) => gives(many, triedRows, { multiple: of }));
  return { few, multiple };
}

function product(ggml: Ggml, matrix: PlacedTensor): TriedProduct {
  const [inputs = 1, allOutputs = 1] = matrix.tensor.shape;
  const outputs = Math.min(allOutputs, triedOutputs);
  return {
    ...{ inputs, outputs, ways },
    multiply: (context, x, rule) =>
      multiply(ggml, context, rowBlock(ggml, context, matrix, 0, outputs), x, rule),
  };
}

function productOfHeads(ggml: Ggml, matrices: PlacedTensor): TriedProduct {
  const [columns = 1, outputs = 1, allHeads = 1] = matrices.tensor.shape;
  const heads = Math.min(allHeads, triedHeads);
  return {
    inputs: columns * heads,
    outputs: outputs * heads,
    ways: waysOfHeads,
    multiply: (context, x, rule) => {
      const part = headBlock(ggml, context, matrices, heads);
      const split = ggml.reshape3d(context, x, columns, heads, ggml.rowCount(x));
      return multiplyHeads(ggml, context, part, split, heads, rule);
    },
  };
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
