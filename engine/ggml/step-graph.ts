import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';
import { mostAttentionNodes } from './attention/attention.js';
import { GgmlGraphBuilder, type GgmlValue } from './ggml-graph-builder.js';
import type { StageParts } from './stage-parts.js';
import { mostStateNodes } from './state/state-ops.js';
import type { StepInputs } from './step-inputs.js';
import type { HeadShape } from './step-shape.js';

/** Layers [first, end) of a stage; behind the stage's last one the head, where it has one. */
export interface LayerRange {
  readonly first: number;
  readonly end: number;
}

/** Upper bounds for the tensors of an op without products and attention, and of all around the layers. */
const nodesPerOperation = 4;
const nodesAround = 48;

/** Layers of a step as a ggml graph: built once per shape, computed many times. */
export class StepGraph implements Disposable {
  readonly graph: Pointer;
  /** Milliseconds that computing it took the last time. */
  computeMs = Infinity;
  readonly #context: Pointer;
  #likeliest: Pointer | undefined;
  #logits: Pointer | undefined;
  /** Of layers whose experts are computed and counted: i32 [chosen, rows]. */
  readonly #routings: { readonly layer: number; readonly ids: Pointer }[] = [];

  /**
   * @param inputs of a step's shape, which get the hidden states that leave the layers
   * @param head what is asked of it, where these are the last layers
   * @throws EngineError 'unsupported' when the model lacks a tensor
   */
  constructor(
    private readonly ggml: Ggml,
    private readonly parts: StageParts,
    inputs: StepInputs,
    layers: LayerRange,
    head: HeadShape | undefined,
  ) {
    const nodes = mostNodes(parts, inputs, layers);
    this.#context = ggml.newContext(
      nodes * ggml.tensorOverhead() + ggml.graphOverhead(nodes, false),
    );
    try {
      this.graph = ggml.newGraph(this.#context, nodes, false);
      this.#build(inputs, layers, head);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** @param into the likeliest token of every row that the head was asked for */
  getLikeliest(into: Int32Array): void {
    this.#get(this.#likeliest, into);
  }

  /** @param into f32 [vocabulary] for each of some rows that the head was asked for, from `first` on */
  getLogits(into: Float32Array, first = 0): void {
    this.#get(this.#logits, into, first * this.parts.sizes.vocabulary * into.BYTES_PER_ELEMENT);
  }

  /** Gives the experts of rows, [rows, chosen] row-major, for each layer of which they are counted. */
  getRoutings(give: (layer: number, ids: Int32Array, rows: number) => void): void {
    for (const { layer, ids } of this.#routings) {
      const into = new Int32Array(this.ggml.elementCount(ids));
      this.#get(ids, into);
      give(layer, into, this.ggml.rowCount(ids));
    }
  }

  [Symbol.dispose](): void {
    this.ggml.freeContext(this.#context);
  }

  #build(inputs: StepInputs, { first, end }: LayerRange, head: HeadShape | undefined): void {
    const { ggml, parts } = this;
    const { decoder, sizes, shard } = parts;
    const builder = new GgmlGraphBuilder(ggml, this.#context, this.graph, parts, inputs);
    let hidden: GgmlValue = { tensor: inputs.hidden, size: sizes.hiddenSize };
    for (let layer = first; layer < end; layer++) {
      hidden = decoder.layer(builder, layer, hidden);
      const routed = builder.takeRouted();
      const isRead = head !== undefined || !shard.head || layer < shard.endLayer - 1;
      if (parts.countsRoutings && isRead && routed) this.#addRouting(layer, routed);
    }
    if (end < shard.endLayer || !shard.head)
      ggml.expand(this.graph, ggml.copy(this.#context, hidden.tensor, inputs.hidden));
    // The last stage only fills its cells when nothing is wanted: what nobody reads is not computed.
    else if (head) this.#addHead(builder, hidden, head);
  }

  #addRouting(layer: number, routed: Pointer): void {
    const ids = this.#output(this.ggml.contiguous(this.#context, routed));
    this.#routings.push({ layer, ids });
  }

  #addHead(builder: GgmlGraphBuilder, hidden: GgmlValue, head: HeadShape): void {
    const logits = this.parts.decoder.head(builder, builder.wantedOf(hidden)).tensor;
    if (head.logits) this.#logits = this.#output(logits);
    if (head.likeliest) this.#likeliest = this.#output(this.ggml.argmax(this.#context, logits));
  }

  #output(tensor: Pointer): Pointer {
    this.ggml.setOutput(tensor);
    this.ggml.expand(this.graph, tensor);
    return tensor;
  }

  #get(tensor: Pointer | undefined, into: ArrayBufferView, offset = 0): void {
    if (tensor === undefined) throw new EngineError('internal', 'the graph does not give this');
    this.ggml.tensorGet(tensor, into, offset, into.byteLength);
  }
}

function mostNodes(
  { layers, products, shard }: StageParts,
  { ofGroups, statePieces }: StepInputs,
  { first, end }: LayerRange,
): number {
  const pieces = Math.max(0, ...[...ofGroups.values()].map((group) => group.pieces.length));
  const inputs = ofGroups.size * (pieces + 1) + 2 * statePieces.length;
  let nodes = nodesAround + inputs;
  for (const { operations, products: multiplied } of layers.slice(first, end))
    nodes +=
      nodesPerOperation * operations +
      products.mostNodesEach * multiplied +
      Math.max(mostAttentionNodes * pieces, mostStateNodes * statePieces.length);
  return nodes + (shard.head ? products.mostNodesEach : 0);
}
