import type { UniformSizes } from '../uniform-sizes.js';
import type { AttentionForm } from './attention-form.js';
import type { Rows } from './attention-node.js';
import type { Graph } from './graph.js';
import { stepInput } from './input-names.js';
import { SegmentAttention } from './segment-attention.js';

/**
 * Adds the attention of one layer: every segment's rows attend by themselves, so that they get the same bits whatever
 * else is in the step.
 * @returns name of f32 [1, n, heads · headSize]
 */
export function addAttention(
  graph: Graph,
  sizes: UniformSizes,
  form: AttentionForm,
  layer: number,
  rows: Rows,
): string {
  const segments = form.places === 1 ? [rows] : splitRows(graph, rows, form.places);
  const attended = segments.map((ofSegment, place) =>
    new SegmentAttention(sizes, form, layer, place, ofSegment).addTo(graph),
  );
  return attended.length === 1 && attended[0] !== undefined
    ? attended[0]
    : graph.node('Concat', attended, { axis: 1 });
}

/** The rows of every segment; they follow each other. */
function splitRows(graph: Graph, { queries, keys, values }: Rows, places: number): Rows[] {
  const split = (rows: string) => {
    const parts = Array.from({ length: places }, () => graph.newName());
    graph.nodeWithOutputs('Split', [rows, stepInput.segmentRows], parts, { axis: 1 });
    return parts;
  };
  const [q, k, v] = [split(queries), split(keys), split(values)];
  return q.map((name, i) => ({ queries: name, keys: k[i] ?? '', values: v[i] ?? '' }));
}
