import { setImmediate } from 'node:timers/promises';
import type { Decoder } from '../../../model/architectures/family.js';
import type { UniformSizes } from '../uniform-sizes.js';
import type { Shard } from '../../../step/shard.js';
import { elementType } from '../runtime/api.js';
import type { ShardWeights } from '../weights/shard-weights.js';
import { Graph } from './graph.js';
import { hasWayForLoneTokens, isForBlocks, type AttentionForm } from './attention-form.js';
import { segmentInput, stepInput } from './input-names.js';
import { addBlockCells } from './block-attention.js';
import { addLoneTokenInputs } from './lone-token-attention.js';
import { OnnxGraphBuilder, type Value } from './onnx-graph-builder.js';

/** Names of what a shard's graph gives, beside keys and values. */
export const stepOutput = {
  /** Without the head: f32 [1, n, hiddenSize]. */
  hidden: 'next hidden',
  /** With the head: f32 [1, outputs, vocabulary]. */
  logits: 'logits',
  /** With the head: i64 [1, outputs], the likeliest. */
  tokens: 'tokens',
} as const;

/** What the graphs of a shard are made from. */
export interface ShardParts {
  readonly decoder: Decoder;
  readonly sizes: UniformSizes;
  readonly shard: Shard;
  readonly weights: ShardWeights;
  /** Name of the head's matrix, without its suffix. */
  readonly headName: string;
}

/**
 * A shard as an ONNX model: layers, and where it has the head the norm, the head's matrix and the choice of the
 * likeliest token as well. One model serves batches of all sizes; what is not asked of it is not copied out.
 */
export async function buildShardModel(parts: ShardParts, form: AttentionForm): Promise<Uint8Array> {
  const { decoder, sizes, shard, weights, headName } = parts;
  const graph = new Graph();
  addInputs(graph, sizes, form);
  const builder = new OnnxGraphBuilder(graph, sizes, weights, form, headName);
  let hidden = firstHidden(graph, builder, shard);
  for (let layer = shard.firstLayer; layer < shard.endLayer; layer++) {
    hidden = decoder.layer(builder, layer, hidden);
    // Others get their turn.
    await setImmediate();
  }
  if (shard.head) addHead(graph, builder, parts, hidden);
  else {
    graph.nodeWithOutputs('Identity', [builder.nameOf(hidden)], [stepOutput.hidden]);
    graph.output(stepOutput.hidden, elementType.f32, [1, 'n', sizes.hiddenSize]);
  }
  return graph.encode();
}

/**
 * What the first layer begins with. Within a shard a layer's first norm is computed together with the sum before it, by a
 * kernel that rounds differently from that of a norm alone. So that a split changes nothing, layers that others come
 * before begin with a sum as well: with zeros.
 */
function firstHidden(graph: Graph, builder: OnnxGraphBuilder, shard: Shard): Value {
  const hidden = { name: stepInput.hidden, heads: 1 };
  if (shard.firstLayer === 0) return hidden;
  const zeros = graph.node('Sub', [hidden.name, hidden.name]);
  return builder.add(hidden, { name: zeros, heads: 1 });
}

function addInputs(graph: Graph, sizes: UniformSizes, form: AttentionForm): void {
  const { bool, f32, i64 } = elementType;
  const rotated = sizes.rope.dimensions / 2;
  graph.input(stepInput.hidden, f32, [1, 'n', sizes.hiddenSize]);
  graph.input(stepInput.cosines, f32, ['n', rotated]);
  graph.input(stepInput.sines, f32, ['n', rotated]);
  graph.input(stepInput.rotations, i64, [1, 'n']);
  if (form.isMasked) graph.input(stepInput.mask, f32, [1, 1, 'n', 'cells']);
  if (form.places > 1) graph.input(stepInput.segmentRows, i64, [form.places]);
  else if (form.storage === 'int8') graph.input(stepInput.calibrates, bool, [1]);
  for (let place = 0; place < form.places; place++) {
    addSegmentInputs(graph, sizes, form, place);
    if (isForBlocks(form, place)) addBlockCells(graph, sizes, place);
  }
}

function addSegmentInputs(
  graph: Graph,
  sizes: UniformSizes,
  form: AttentionForm,
  place: number,
): void {
  const { bool, i32 } = elementType;
  const { lastCell, cells, isEmpty, isAlone } = segmentInput(place);
  graph.input(lastCell, i32, [1]);
  graph.input(cells, i32, []);
  if (form.places > 1) graph.input(isEmpty, bool, [1]);
  if (hasWayForLoneTokens(form)) graph.input(isAlone, bool, [1]);
  if (form.spreadsLoneTokens) addLoneTokenInputs(graph, sizes, place);
}

function addHead(
  graph: Graph,
  builder: OnnxGraphBuilder,
  { decoder, sizes }: ShardParts,
  hidden: Value,
): void {
  graph.input(stepInput.outputRows, elementType.i64, ['outputs']);
  const rows = graph.node('Gather', [builder.nameOf(hidden), stepInput.outputRows], { axis: 1 });
  const logits = decoder.head(builder, { name: rows, heads: 1 });
  graph.nodeWithOutputs('Identity', [logits.name], [stepOutput.logits]);
  graph.output(stepOutput.logits, elementType.f32, [1, 'outputs', sizes.vocabulary]);
  graph.nodeWithOutputs('ArgMax', [logits.name], [stepOutput.tokens], { axis: -1, keepdims: 0 });
  graph.output(stepOutput.tokens, elementType.i64, [1, 'outputs']);
}
