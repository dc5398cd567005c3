import type { Model } from '../../model/architectures/model.js';
import type { Shard } from '../../step/shard.js';
import type { Segment, StateSlots } from '../../step/step.js';
import { EngineError } from '../engine.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import { mostAttentionNodes, type MaskedPiece } from './attention/attention.js';
import type { AttentionGroup, KvCache } from './attention/kv-cache.js';
import type { MaskWriter } from './attention/mask-writer.js';
import { GgmlGraphBuilder, type GgmlValue } from './ggml-graph-builder.js';
import type { Products } from './products.js';
import type { StateMemory } from './state/state-memory.js';
import { mostStateNodes, type StatePiece } from './state/state-ops.js';
import { piecesOf, type HeadShape, type StepShape } from './step-shape.js';
import type { Weights } from './weights.js';

/** What graphs of one stage have in common. */
export interface StageParts extends Pick<Model, 'decoder' | 'sizes' | 'layers'> {
  readonly shard: Shard;
  readonly weights: Weights;
  readonly products: Products;
  readonly kv: KvCache;
  readonly states: StateMemory;
  readonly masks: MaskWriter;
  /** Name of the head's matrix, without its suffix. */
  readonly headName: string;
  /** Whether graphs give which experts rows go through. */
  readonly countsRoutings: boolean;
}

/** Upper bounds for the tensors of an op without products and attention, and of all around the layers. */
const nodesPerOperation = 4;
const nodesAround = 48;

/** One step of a stage as a ggml graph: built once per shape, computed many times. */
export class StepGraph implements Disposable {
  readonly graph: Pointer;
  /** Milliseconds that computing it took the last time. */
  computeMs = Infinity;
  readonly #context: Pointer;
  readonly #hidden: Pointer;
  readonly #positions: Pointer;
  /** Where rows are kept, in every group of layers: i64 [rows]. */
  readonly #places: readonly Pointer[];
  /** Of every group of layers, and every segment. */
  readonly #pieces: readonly (readonly (readonly MaskedPiece[])[])[];
  /** Of every segment; none where no layer keeps a state. */
  readonly #statePieces: readonly StatePiece[];
  readonly #headRows: Pointer;
  readonly #placeValues: BigInt64Array;
  /** Hidden states behind the layers. */
  #result: Pointer | undefined;
  #likeliest: Pointer | undefined;
  #logits: Pointer | undefined;
  /** Of layers whose experts are computed and counted: i32 [chosen, rows]. */
  readonly #routings: { readonly layer: number; readonly ids: Pointer }[] = [];

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
      this.#places = parts.kv.groups.map(() => this.#input(tensorType.i64, rows));
      this.#pieces = parts.kv.groups.map((group, i) => this.#maskedPieces(shape, group, i));
      this.#statePieces = parts.states.isUsed ? this.#piecesOfStates(shape) : [];
      this.#headRows = this.#input(tensorType.i32, shape.head?.rows ?? 1);
      this.#placeValues = new BigInt64Array(rows);
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
    const { masks, kv } = this.parts;
    this.#set(this.#hidden, hidden);
    let firstRow = 0;
    for (const [i, { positions, visible, state }] of segments.entries()) {
      this.#set(this.#positions, positions, firstRow * positions.BYTES_PER_ELEMENT);
      for (const [group, { places }] of kv.groups.entries())
        await masks.write(this.#pieces[group]![i]!, visible, places);
      const kept = this.#statePieces[i];
      if (kept && state) this.#setSlots(kept, state);
      firstRow += positions.length;
    }
    for (const [group, { places }] of kv.groups.entries()) {
      let row = 0;
      for (const { cells } of segments)
        for (const cell of cells) this.#placeValues[row++] = BigInt(places.of(cell));
      this.#set(this.#places[group]!, this.#placeValues);
    }
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

  #maskedPieces({ segments }: StepShape, group: AttentionGroup, index: number): MaskedPiece[][] {
    let firstRow = 0;
    return segments.map((segment) => {
      const pieces = piecesOf(segment, group, index).map((piece): MaskedPiece => {
        const mask = this.#input(tensorType.f16, piece.windowLength, piece.rows);
        return { ...piece, firstRow: firstRow + piece.firstRow, mask };
      });
      firstRow += segment.rows;
      return pieces;
    });
  }

  #piecesOfStates({ segments }: StepShape): StatePiece[] {
    let firstRow = 0;
    return segments.map(({ rows, begins }) => {
      const [read, write] = [this.#input(tensorType.i32, 1), this.#input(tensorType.i64, 1)];
      const piece = { firstRow, rows, begins, read, write };
      firstRow += rows;
      return piece;
    });
  }

  #setSlots({ read, write }: StatePiece, slots: StateSlots): void {
    // Where a text begins, what is read is not used.
    this.#set(read, Int32Array.of(Math.max(0, slots.read)));
    this.#set(write, BigInt64Array.of(BigInt(slots.write)));
  }

  #build(rows: number, head: HeadShape | undefined): void {
    const { ggml, parts } = this;
    const { decoder, sizes, shard, kv } = parts;
    const builder = new GgmlGraphBuilder(ggml, this.#context, this.graph, parts, {
      rows,
      statePieces: this.#statePieces,
      positions: this.#positions,
      ofGroups: new Map(
        kv.groups.map((group, i) => [
          group,
          { pieces: this.#pieces[i]!.flat(), places: this.#places[i]! },
        ]),
      ),
      ...(shard.head
        ? {
            wanted: {
              lastLayer: shard.endLayer - 1,
              count: head?.rows ?? 0,
              indices: this.#headRows,
            },
          }
        : {}),
    });
    let hidden: GgmlValue = { tensor: this.#hidden, size: sizes.hiddenSize };
    for (let layer = shard.firstLayer; layer < shard.endLayer; layer++) {
      hidden = decoder.layer(builder, layer, hidden);
      const routed = builder.takeRouted();
      const isRead = head !== undefined || !shard.head || layer < shard.endLayer - 1;
      if (parts.countsRoutings && isRead && routed) this.#addRouting(layer, routed);
    }
    // The last stage only fills its cells when nothing is wanted: what nobody reads is not computed.
    if (!shard.head) this.#result = this.#output(hidden.tensor);
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

  #set(tensor: Pointer, values: ArrayBufferView, offset = 0): void {
    this.ggml.tensorSet(tensor, values, offset, values.byteLength);
  }

  #get(tensor: Pointer | undefined, into: ArrayBufferView, offset = 0): void {
    if (tensor === undefined) throw new EngineError('internal', 'the graph does not give this');
    this.ggml.tensorGet(tensor, into, offset, into.byteLength);
  }
}

function mostNodes(
  { shard, layers, products, kv }: StageParts,
  { segments, head }: StepShape,
): number {
  const pieces = kv.groups.map((group, i) =>
    segments.reduce((sum, segment) => sum + piecesOf(segment, group, i).length, 0),
  );
  const most = Math.max(0, ...pieces);
  let nodes = nodesAround + pieces.reduce((sum, count) => sum + count, 0);
  for (const { operations, products: multiplied } of layers.slice(shard.firstLayer, shard.endLayer))
    nodes +=
      nodesPerOperation * operations +
      products.mostNodesEach * multiplied +
      Math.max(mostAttentionNodes * most, mostStateNodes * segments.length);
  return nodes + (head ? products.mostNodesEach : 0);
}
