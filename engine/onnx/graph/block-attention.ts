import type { UniformSizes } from '../uniform-sizes.js';
import { elementType } from '../runtime/api.js';
import { addAttentionNode, type Rows } from './attention-node.js';
import type { Graph } from './graph.js';
import { segmentInput, stepInput } from './input-names.js';

/** Name of i64 [1, kvHeads, n, 3]: where in [1, kvHeads, cells, headSize] the heads of the rows' keys and values go. */
const rowCells = (place: number) => `cells of rows of segment ${place}`;

/** Name of i64 [1]: cells that the last row sees. */
const seenCells = (place: number) => `seen cells of segment ${place}`;

/** Keys and values of 8 bits. */
export interface Int8Cells {
  /** Past keys and values: int8 [1, kvHeads, capacity, headSize]. */
  readonly cells: readonly string[];
  /** f32 [kvHeads · headSize] each. */
  readonly scales: readonly string[];
}

/** Adds what all layers of a graph with `addBlockAttention` refer to. */
export function addBlockCells(graph: Graph, { kvHeads }: UniformSizes, place: number): void {
  const { i64 } = elementType;
  const constant = (name: string, shape: readonly number[], values: readonly number[]) =>
    graph.constant(name, i64, shape, BigInt64Array.from(values, BigInt));
  const end = graph.node('Cast', [segmentInput(place).cells], { to: i64 });
  const rows = graph.node('Gather', [stepInput.segmentRows, constant('place', [], [place])]);
  const cells = graph.node('Range', [
    graph.node('Sub', [end, rows]),
    end,
    constant('next cell', [], [1]),
  ]);
  const inLast = graph.node('Mul', [
    graph.node('Reshape', [cells, graph.list([-1, 1])]),
    constant('last index', [1, 3], [0, 0, 1]),
  ]);
  const ofHeads = Array.from({ length: kvHeads }, (_, head) => [0, head, 0]).flat();
  const heads = constant('indices of heads', [1, kvHeads, 1, 3], ofHeads);
  graph.nodeWithOutputs('Add', [heads, inLast], [rowCells(place)]);
  graph.nodeWithOutputs('Reshape', [end, graph.list([1])], [seenCells(place)]);
}

/**
 * Adds attention to cells of 8 bits that is fast for many rows: the window becomes f32 once for all of them, where ONNX
 * Runtime's attention to 8 bits converts every key and value for each row anew. Scales are taken out of the window:
 * queries are multiplied by those of keys, and what was attended to by those of values.
 * @param outputs what was attended to, and present keys and values
 */
export function addBlockAttention(
  graph: Graph,
  sizes: UniformSizes,
  place: number,
  { cells, scales }: Int8Cells,
  { queries, keys, values }: Rows,
  [attended = '', ...present]: readonly string[],
): void {
  const { heads, kvHeads } = sizes;
  const [keyScales = '', valueScales = ''] = scales;
  const writtenCells = [keys, values].map((rows, i) => {
    const reciprocal = graph.node('Reciprocal', [scales[i] ?? '']);
    const whole = wholeNumbers(graph, sizes, graph.node('Mul', [rows, reciprocal]));
    const written = present[i] ?? '';
    graph.nodeWithOutputs('ScatterND', [cells[i] ?? '', rowCells(place), whole], [written]);
    return written;
  });
  const windows = writtenCells.map((written) => {
    const bounds = [graph.list([0]), seenCells(place), graph.list([2])];
    return graph.node('Cast', [graph.node('Slice', [written, ...bounds])], { to: elementType.f32 });
  });
  // The window has the rows' keys and values already.
  const none = (x: string) =>
    graph.node('Slice', [x, graph.list([0]), graph.list([0]), graph.list([1])]);
  const [sum = ''] = addAttentionNode(
    graph,
    {
      queries: graph.node('Mul', [queries, perHead(graph, sizes, keyScales)]),
      keys: none(keys),
      values: none(values),
    },
    { heads, kvHeads, place, cells: windows },
  );
  graph.nodeWithOutputs('Mul', [sum, perHead(graph, sizes, valueScales)], [attended]);
}

/** Rounds f32 [1, n, kvHeads · headSize], and puts heads first. @returns int8 [1, kvHeads, n, headSize] */
function wholeNumbers(graph: Graph, { kvHeads, headSize }: UniformSizes, x: string): string {
  const one = graph.constant('unit scale', elementType.f32, [], Float32Array.of(1));
  const zero = graph.constant('zero of int8', elementType.i8, [], Int8Array.of(0));
  const whole = graph.node('QuantizeLinear', [x, one, zero]);
  const split = graph.node('Reshape', [whole, graph.list([1, -1, kvHeads, headSize])]);
  return graph.node('Transpose', [split], { perm: [0, 2, 1, 3] });
}

/** Scales [kvHeads · headSize] of heads of keys as those of the heads of queries that share them. */
function perHead(graph: Graph, { heads, kvHeads, headSize }: UniformSizes, scales: string) {
  const apart = graph.node('Reshape', [scales, graph.list([kvHeads, 1, headSize])]);
  const shape = graph.list([kvHeads, heads / kvHeads, headSize]);
  const shared = graph.node('Expand', [apart, shape]);
  return graph.node('Reshape', [shared, graph.list([-1])]);
}
