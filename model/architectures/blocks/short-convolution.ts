import type { GraphBuilder } from '../graph-builder.js';

/** A convolution over few rows, gated before and after it (LFM2, arXiv 2511.23404): all that it keeps are those rows. */
export interface ShortConvolution {
  readonly hiddenSize: number;
  /** Rows that are convolved. */
  readonly width: number;
}

/**
 * From what a norm gave to what is added to it: [hiddenSize, n].
 * @param x [hiddenSize, n]
 * @param layer index
 */
export function shortConvolution<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  layer: number,
  { hiddenSize, width }: ShortConvolution,
): Value {
  const tensor = (name: string) => `blk.${layer}.shortconv.${name}`;
  const joined = graph.linear(x, tensor('in_proj'), 3 * hiddenSize);
  const part = (index: number) => graph.slice(joined, index * hiddenSize, hiddenSize);
  const [before, after, values] = [part(0), part(1), part(2)];
  const gated = graph.mul(before, values);
  const convolved = graph.convolution(layer, gated, tensor('conv'), width);
  return graph.linear(graph.mul(after, convolved), tensor('out_proj'), hiddenSize);
}
