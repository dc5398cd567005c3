import type { UniformSizes } from '../uniform-sizes.js';
import { elementType } from '../runtime/api.js';
import type { Graph } from './graph.js';
import type { CacheKind } from './kv-names.js';

/** The largest whole number that keys and values become. */
const largest = 127;

/** How much larger than the calibrating text's they may be before they are cut. */
const headroom = 2;

/** Scales of channels that are always 0. */
const smallest = 1e-9;

/**
 * Adds what finds scales that a text's keys or values fit.
 * @param x f32 [1, n, kvHeads · headSize]: the text's, keys rotated
 * @param scales f32 [kvHeads · headSize]: those of other texts, 0 where there are none
 * @returns scales that fit them as well, of the same shape
 */
export function addFittingScales(
  graph: Graph,
  sizes: UniformSizes,
  kind: CacheKind,
  x: string,
  scales: string,
): string {
  const constant = (name: string, value: number) =>
    graph.constant(name, elementType.f32, [1], Float32Array.of(value));
  const heads = reshape(graph, x, [-1, sizes.kvHeads, sizes.headSize]);
  const reach = kind === 'keys' ? reachOfKeys(graph, sizes, heads) : reachOf(graph, heads);
  const fitting = graph.node('Mul', [
    reshape(graph, reach, [-1]),
    constant('scale of reach', headroom / largest),
  ]);
  return graph.node('Max', [fitting, scales, constant('smallest scale', smallest)]);
}

/** The largest magnitudes of [n, …]. */
function reachOf(graph: Graph, x: string): string {
  return graph.node('ReduceMax', [graph.node('Abs', [x]), graph.list([0])], { keepdims: 0 });
}

/**
 * At another position a pair of features is turned to another angle, so either may become as long as the pair.
 * @param heads f32 [n, kvHeads, headSize]
 * @returns f32 [kvHeads, headSize]
 */
function reachOfKeys(graph: Graph, sizes: UniformSizes, heads: string): string {
  const { kvHeads, headSize, rope } = sizes;
  const slice = (from: number, to: number) =>
    graph.node('Slice', [heads, graph.list([from]), graph.list([to]), graph.list([2])]);
  const count = rope.dimensions / 2;
  const [axis, shape] = rope.pairing === 'neighbours' ? [3, [count, 2]] : [2, [2, count]];
  const pairs = reshape(graph, slice(0, rope.dimensions), [-1, kvHeads, ...shape]);
  const lengths = graph.node('ReduceL2', [pairs, graph.list([axis])]);
  const longest = graph.node('ReduceMax', [lengths, graph.list([0])]);
  const both = graph.node('Concat', [longest, longest], { axis });
  const rotated = reshape(graph, both, [kvHeads, rope.dimensions]);
  if (rope.dimensions === headSize) return rotated;
  return graph.node('Concat', [rotated, reachOf(graph, slice(rope.dimensions, headSize))], {
    axis: 1,
  });
}

function reshape(graph: Graph, x: string, shape: readonly number[]): string {
  return graph.node('Reshape', [x, graph.list(shape)]);
}
