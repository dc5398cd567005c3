import type { Architecture } from '../../model/architectures/architecture.js';
import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import { outputNormTensor } from '../../model/shard-tensors.js';
import type { Shard } from '../../step/shard.js';
import type { Segment } from '../../step/step.js';
import { EngineError } from '../engine.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import { mostAttentionNodes, type MaskedPiece } from './attention/attention.js';
import type { KvCache } from './attention/kv-cache.js';
import type { MaskWriter } from './attention/mask-writer.js';
import { GgmlGraphBuilder } from './ggml-graph-builder.js';
import type { Products } from './products.js';
import type { HeadShape, StepShape } from './step-shape.js';
import type { Weights } from './weights.js';

/** What graphs of one stage have in common. */
export interface StageParts {
  readonly architecture: Architecture;
  readonly sizes: Hyperparameters;
  readonly shard: Shard;
  readonly weights: Weights;
  readonly products: Products;
  readonly kv: KvCache;
  readonly masks: MaskWriter;
  /** Name of the head's matrix, without its suffix. */
  readonly headName: string;
}

/** Upper bounds for the tensors of a layer without its products and its attention, and of all around. */
const nodesPerLayer = 40;
const productsPerLayer = 8;
const nodesAround = 32;

/** One step of a stage as a ggml graph: built once per shape, computed many times. */
export class StepGraph implements Disposable {
  readonly graph: Pointer;
  /** Milliseconds that computing it took the last time. */
  computeMs = Infinity;
  readonly #context: Pointer;
  readonly #hidden: Pointer;
  readonly #positions: Pointer;
  readonly #cells: Pointer;
  /** Of every segment. */
  readonly #pieces: readonly (readonly MaskedPiece[])[];
  readonly #headRows: Pointer;
  readonly #cellValues: BigInt64Array;
  /** Hidden states behind the layers. */
  #result: Pointer | undefined;
  #likeliest: Pointer | undefined;
  #logits: Pointer | undefined;

  /** @throws EngineError 'unsupported' when the model lacks a tensor */
  constructor(
    private readonly ggml: Ggml,
    private readonly parts: StageParts,
    readonly shape: StepShape,
  ) {
    const { sizes } = parts;
    const nodes = mostNodes(parts, shape);
    this.#context = ggml.newContext(
      nodes * ggml.tensorOverhead() + ggml.graphOverhead(nodes, false),
    );
    try {
      this.graph = ggml.newGraph(this.#context, nodes, false);
      const rows = shape.segments.reduce((sum, segment) => sum + segment.rows, 0);
      this.#hidden = this.#input(tensorType.f32, sizes.hiddenSize, rows);
      this.#positions = this.#input(tensorType.i32, rows);
      this.#cells = this.#input(tensorType.i64, rows);
      this.#pieces = this.#maskedPieces(shape);
      this.#headRows = this.#input(tensorType.i32, shape.head?.rows ?? 1);
      this.#cellValues = new BigInt64Array(rows);
      this.#build(rows, shape.head);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Fills the graph's inputs.
   * @param segments of the graph's shape
   * @param hidden [rows, hiddenSize] f32, row-major
   * @param headRows the rows that the head is asked for
   */
  async setInputs(
    segments: readonly Segment[],
    hidden: Float32Array,
    headRows: Int32Array,
  ): Promise<void> {
    this.#set(this.#hidden, hidden);
    let firstRow = 0;
    for (const [i, { positions, cells, visible }] of segments.entries()) {
      this.#set(this.#positions, positions, firstRow * positions.BYTES_PER_ELEMENT);
      for (let row = 0; row < cells.length; row++)
        this.#cellValues[firstRow + row] = BigInt(cells[row]!);
      await this.parts.masks.write(this.#pieces[i]!, visible);
      firstRow += positions.length;
    }
    this.#set(this.#cells, this.#cellValues);
    if (headRows.length > 0) this.#set(this.#headRows, headRows);
  }

  /** @param into [rows, hiddenSize] f32, of a graph without the head */
  getHidden(into: Float32Array): void {
    this.#get(this.#result, into);
  }

  /** @param into the likeliest token of every row that the head was asked for */
  getLikeliest(into: Int32Array): void {
    this.#get(this.#likeliest, into);
  }

  /** @param into f32 [vocabulary] for each of some rows that the head was asked for, from `first` on */
  getLogits(into: Float32Array, first = 0): void {
    this.#get(this.#logits, into, first * this.parts.sizes.vocabulary * into.BYTES_PER_ELEMENT);
  }

  [Symbol.dispose](): void {
    this.ggml.freeContext(this.#context);
  }

  #input(type: number, ne0: number, ne1?: number): Pointer {
    const { ggml } = this;
    const tensor =
      ne1 === undefined
        ? ggml.newTensor1d(this.#context, type, ne0)
        : ggml.newTensor2d(this.#context, type, ne0, ne1);
    ggml.setInput(tensor);
    // It is filled, so it needs memory, also where no op reads it.
    ggml.expand(this.graph, tensor);
    return tensor;
  }

  #maskedPieces({ segments }: StepShape): MaskedPiece[][] {
    let firstRow = 0;
    return segments.map((segment) => {
      const pieces = this.parts.kv.pieces(segment).map((piece): MaskedPiece => {
        const { rows, windowLength, maskCopies } = piece;
        const mask = this.#input(tensorType.f16, windowLength, rows * maskCopies);
        return { ...piece, firstRow: firstRow + piece.firstRow, mask };
      });
      firstRow += segment.rows;
      return pieces;
    });
  }

  #build(rows: number, head: HeadShape | undefined): void {
    const { ggml, parts } = this;
    const { architecture, sizes, shard } = parts;
    const builder = new GgmlGraphBuilder(ggml, this.#context, this.graph, parts, {
      rows,
      pieces: this.#pieces.flat(),
      positions: this.#positions,
      cells: this.#cells,
    });
    let hidden = this.#hidden;
    for (let layer = shard.firstLayer; layer < shard.endLayer; layer++)
      hidden = architecture.layer(builder, sizes, layer, hidden);
    // The last stage only fills its cells when nothing is wanted: what nobody reads is not computed.
    if (!shard.head) this.#result = this.#output(hidden);
    else if (head) this.#addHead(builder, hidden, head);
  }

  #addHead(builder: GgmlGraphBuilder, hidden: Pointer, head: HeadShape): void {
    const rows = this.ggml.getRows(this.#context, hidden, this.#headRows);
    const logits = builder.linear(builder.rmsNorm(rows, outputNormTensor), this.parts.headName);
    if (head.logits) this.#logits = this.#output(logits);
    if (head.likeliest) this.#likeliest = this.#output(this.ggml.argmax(this.#context, logits));
  }

  #output(tensor: Pointer): Pointer {
    this.ggml.setOutput(tensor);
    this.ggml.expand(this.graph, tensor);
    return tensor;
  }

  #set(tensor: Pointer, values: ArrayBufferView, offset = 0): void {
    this.ggml.tensorSet(tensor, values, offset, values.byteLength);
  }

  #get(tensor: Pointer | undefined, into: ArrayBufferView, offset = 0): void {
    if (tensor === undefined) throw new EngineError('internal', 'the graph does not give this');
    this.ggml.tensorGet(tensor, into, offset, into.byteLength);
  }
}

function mostNodes({ shard, products, kv }: StageParts, { segments, head }: StepShape): number {
  const pieces = segments.reduce((sum, segment) => sum + kv.pieces(segment).length, 0);
  const perLayer =
    nodesPerLayer + mostAttentionNodes * pieces + productsPerLayer * products.mostNodesEach;
  const layers = shard.endLayer - shard.firstLayer;
  return nodesAround + layers * perLayer + pieces + (head ? products.mostNodesEach : 0);
}
