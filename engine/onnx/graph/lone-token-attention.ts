import type { UniformSizes } from '../uniform-sizes.js';
import { elementType } from '../runtime/api.js';
import { addAttentionNode, hides, type Rows } from './attention-node.js';
import type { Graph } from './graph.js';
import { segmentInput } from './input-names.js';

/** Name of a mask, f32 [1, 1, rows, cells]: hides the cells that a token takes along when it is alone. */
const hidesNext = (place: number) => `hides next cells of segment ${place}`;

/** The rows of a token that is alone: heads that share keys sit on a row each, and there are two at least. */
export function rowsOfLoneToken({ heads, kvHeads }: Pick<UniformSizes, 'heads' | 'kvHeads'>) {
  return Math.max(2, heads / kvHeads);
}

/** Adds what all layers of a graph with `addLoneTokenAttention` refer to. */
export function addLoneTokenInputs(graph: Graph, sizes: UniformSizes, place: number): void {
  const { f32, i64 } = elementType;
  const { nextCells, maskPadding } = segmentInput(place);
  const rows = rowsOfLoneToken(sizes);
  graph.input(nextCells, i64, [rows - 1]);
  graph.input(maskPadding, i64, [8]);
  const values = new Float32Array(rows * (rows - 1)).fill(hides);
  const last = graph.constant('last columns', f32, [1, 1, rows, rows - 1], values);
  graph.nodeWithOutputs('Pad', [last, maskPadding], [hidesNext(place)]);
}

/**
 * Adds the attention of one token as that of several rows, which is less work as well: keys and values are rearranged
 * for every head, so a head of queries per head of keys is enough. Keys and values must have as many rows: the cells
 * behind the token's own are written as they are, and hidden.
 * @param cells past keys and values
 * @param outputs what was attended to, and present keys and values
 */
export function addLoneTokenAttention(
  graph: Graph,
  { heads, kvHeads, headSize }: UniformSizes,
  place: number,
  cells: readonly string[],
  { queries, keys, values }: Rows,
  outputs: readonly string[],
): void {
  const group = heads / kvHeads;
  const reshape = (x: string, ...shape: number[]) => graph.node('Reshape', [x, graph.list(shape)]);
  const swap = (x: string) => graph.node('Transpose', [x], { perm: [0, 2, 1, 3] });
  const withNext = (x: string, past = '') => {
    const next = graph.node('Gather', [past, segmentInput(place).nextCells], { axis: 2 });
    // A single cell's heads follow each other as they are.
    const rows = group > 2 ? swap(next) : next;
    return graph.node('Concat', [x, reshape(rows, 1, -1, kvHeads * headSize)], { axis: 1 });
  };
  const split =
    group === 1
      ? graph.node('Concat', [queries, queries], { axis: 1 })
      : reshape(swap(reshape(queries, 1, kvHeads, group, headSize)), 1, group, kvHeads * headSize);
  const [attended = '', ...present] = outputs;
  const spread = graph.newName();
  addAttentionNode(
    graph,
    { queries: split, keys: withNext(keys, cells[0]), values: withNext(values, cells[1]) },
    { heads: kvHeads, kvHeads, place, cells, mask: hidesNext(place) },
    [spread, ...present],
  );
  if (group === 1)
    graph.nodeWithOutputs('Gather', [spread, graph.list([0])], [attended], { axis: 1 });
  else {
    const joined = swap(reshape(spread, 1, group, kvHeads, headSize));
    graph.nodeWithOutputs('Reshape', [joined, graph.list([1, 1, heads * headSize])], [attended]);
  }
}
