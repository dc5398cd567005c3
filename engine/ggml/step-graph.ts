import type { Architecture } from '../../model/architectures/architecture.js';
import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import { outputNormTensor, type Shard } from '../../model/shard.js';
import { EngineError, type Batch } from '../engine.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import { GgmlGraphBuilder } from './ggml-graph-builder.js';
import type { KvCache } from './kv-cache.js';
import type { Weights } from './weights.js';

/** What the head of a graph gives: nothing, the likeliest token ids, or logits. */
export type HeadOutput = 'none' | 'argmax' | 'logits';

/** Graphs of equal shape are interchangeable. */
export interface StepShape {
  readonly tokens: number;
  readonly outputs: number;
  readonly windowStart: number;
  readonly windowLength: number;
  readonly head: HeadOutput;
}

/** What graphs of one stage have in common. */
export interface StageParts {
  readonly architecture: Architecture;
  readonly sizes: Hyperparameters;
  readonly shard: Shard;
  readonly weights: Weights;
  readonly kv: KvCache;
  /** Name of the head's matrix, without its suffix. */
  readonly headName: string;
}

/** Upper bounds for the ops and tensors of one layer and of everything around the layers. */
const nodesPerLayer = 48;
const nodesAround = 32;

const f16NegativeInfinity = 0xfc00;

/** One step of a stage as a ggml graph: built once per shape, computed many times. */
export class StepGraph implements Disposable {
  readonly graph: Pointer;
  /** Milliseconds that computing it took the last time. */
  computeMs = Infinity;
  readonly #context: Pointer;
  readonly #hidden: Pointer;
  readonly #positions: Pointer;
  readonly #cells: Pointer;
  readonly #mask: Pointer;
  readonly #outputRows: Pointer;
  readonly #result: Pointer;
  readonly #maskValues: Uint16Array;
  readonly #cellValues: BigInt64Array;

  constructor(
    private readonly ggml: Ggml,
    parts: StageParts,
    readonly shape: StepShape,
  ) {
    const { sizes, shard } = parts;
    const { tokens, windowStart, windowLength } = shape;
    const nodes = nodesAround + nodesPerLayer * (shard.endLayer - shard.firstLayer);
    const context = ggml.newContext(
      nodes * ggml.tensorOverhead() + ggml.graphOverhead(nodes, false),
    );
    this.#context = context;
    const input = (type: number, ne0: number, ne1?: number) => {
      const tensor =
        ne1 === undefined
          ? ggml.newTensor1d(context, type, ne0)
          : ggml.newTensor2d(context, type, ne0, ne1);
      ggml.setInput(tensor);
      return tensor;
    };
    this.#hidden = input(tensorType.f32, sizes.hiddenSize, tokens);
    this.#positions = input(tensorType.i32, tokens);
    this.#cells = input(tensorType.i64, tokens);
    this.#mask = input(tensorType.f16, windowLength, tokens);
    this.#outputRows = input(tensorType.i32, Math.max(1, shape.outputs));
    this.#maskValues = new Uint16Array(windowLength * tokens);
    this.#cellValues = new BigInt64Array(tokens);

    this.graph = ggml.newGraph(context, nodes, false);
    const builder = new GgmlGraphBuilder(
      ggml,
      context,
      this.graph,
      sizes,
      parts.weights,
      parts.kv,
      {
        tokens,
        windowStart,
        windowLength,
        positions: this.#positions,
        cells: this.#cells,
        mask: this.#mask,
      },
    );
    let hidden = this.#hidden;
    for (let layer = shard.firstLayer; layer < shard.endLayer; layer++)
      hidden = parts.architecture.layer(builder, sizes, layer, hidden);
    this.#result = this.#addHead(builder, parts, hidden);
    // Without outputs the last stage only fills its cells: what nobody reads is not computed.
    if (shard.head && shape.head === 'none') return;
    ggml.setOutput(this.#result);
    ggml.expand(this.graph, this.#result);
  }

  /** Fills the graph's inputs. @param hidden [n, hiddenSize] f32, row-major. */
  setInputs(batch: Batch, hidden: Float32Array): void {
    const { ggml } = this;
    const set = (tensor: Pointer, values: ArrayBufferView) =>
      ggml.tensorSet(tensor, values, 0, values.byteLength);
    set(this.#hidden, hidden);
    if (batch.tokens.length !== this.shape.tokens)
      throw new EngineError('the batch does not have the shape of its graph');
    set(this.#positions, batch.positions);
    batch.cells.forEach((cell, i) => (this.#cellValues[i] = BigInt(cell)));
    set(this.#cells, this.#cellValues);
    fillMask(this.#maskValues, batch);
    set(this.#mask, this.#maskValues);
    if (this.shape.head !== 'none') set(this.#outputRows, batch.outputs);
  }

  /** Reads the result: hidden states, token ids or logits, as the shape says. */
  getResult(into: ArrayBufferView): void {
    this.ggml.tensorGet(this.#result, into, 0, into.byteLength);
  }

  [Symbol.dispose](): void {
    this.ggml.freeContext(this.#context);
  }

  #addHead(builder: GgmlGraphBuilder, parts: StageParts, hidden: Pointer): Pointer {
    const { ggml, shape } = this;
    if (shape.head === 'none') return hidden;
    const rows = ggml.getRows(this.#context, hidden, this.#outputRows);
    const logits = builder.linear(builder.rmsNorm(rows, outputNormTensor), parts.headName);
    return shape.head === 'logits' ? logits : ggml.argmax(this.#context, logits);
  }
}

/** Writes 0 where a token sees a cell of the window and -infinity elsewhere: f16 [n, windowLength]. */
export function fillMask(mask: Uint16Array, batch: Batch): void {
  const { visible, visibleCounts, windowStart, windowLength } = batch;
  mask.fill(f16NegativeInfinity);
  let range = 0;
  for (let row = 0; row < visibleCounts.length; row++) {
    const start = row * windowLength - windowStart;
    for (let i = visibleCounts[row] ?? 0; i > 0; i--, range += 2)
      mask.fill(0, start + (visible[range] ?? 0), start + (visible[range + 1] ?? 0));
  }
}
