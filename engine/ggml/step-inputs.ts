import type { Segment, StateSlots } from '../../step/step.js';
import type { GroupInputs } from './attention/attend-pieces.js';
import type { MaskedPiece } from './attention/attention.js';
import type { AttentionGroup, KvCache } from './attention/kv-cache.js';
import type { MaskWriter } from './attention/mask-writer.js';
import { tensorType, type Ggml, type Pointer } from './bindings.js';
import type { GraphInputs, WantedRows } from './ggml-graph-builder.js';
import type { Scratch } from './scratch.js';
import type { StageParts } from './stage-parts.js';
import type { StatePiece } from './state/state-ops.js';
import { piecesOf, rowsOfShape, type StepShape } from './step-shape.js';

/** Inputs beside masks and slots, of which every segment has some in every group of layers. */
const inputsAround = 3;

/**
 * What a step of a shape is computed from, and its hidden states from layer to layer. Graphs refer to it, so it stays
 * what it is while others are computed in the same scratch memory.
 */
export class StepInputs implements GraphInputs, Disposable {
  readonly rows: number;
  /** f32 [hiddenSize, rows]: what enters the layers, and what left those that were computed last. */
  readonly hidden: Pointer;
  readonly positions: Pointer;
  readonly statePieces: readonly StatePiece[];
  readonly ofGroups: ReadonlyMap<AttentionGroup, GroupInputs>;
  readonly wanted?: WantedRows;
  /** Of every group of layers, and every segment. */
  readonly #pieces: readonly (readonly (readonly MaskedPiece[])[])[];
  readonly #kv: KvCache;
  readonly #masks: MaskWriter;
  readonly #context: Pointer;
  readonly #graph: Pointer;
  readonly #placeValues: BigInt64Array;

  /** Describes tensors that have no memory yet. */
  constructor(
    private readonly ggml: Ggml,
    { sizes, shard, kv, states, masks }: StageParts,
    shape: StepShape,
  ) {
    const most = mostInputs(shape, kv);
    this.#context = ggml.newContext(most * ggml.tensorOverhead() + ggml.graphOverhead(most, false));
    this.#graph = ggml.newGraph(this.#context, most, false);
    this.#kv = kv;
    this.#masks = masks;
    const rows = (this.rows = rowsOfShape(shape));
    this.hidden = this.#input(tensorType.f32, sizes.hiddenSize, rows);
    this.positions = this.#input(tensorType.i32, rows);
    this.#pieces = kv.groups.map((group, i) => this.#maskedPieces(shape, group, i));
    this.ofGroups = new Map(
      kv.groups.map((group, i) => [
        group,
        { pieces: this.#pieces[i]!.flat(), places: this.#input(tensorType.i64, rows) },
      ]),
    );
    this.statePieces = states.isUsed ? this.#piecesOfStates(shape) : [];
    this.#placeValues = new BigInt64Array(rows);
    const count = shape.head?.rows ?? 0;
    if (shard.head)
      this.wanted = {
        ...{ lastLayer: shard.endLayer - 1, count },
        indices: this.#input(tensorType.i32, Math.max(1, count)),
      };
  }

  /** @throws EngineError 'memory' */
  allocate(memory: Scratch): void {
    // Which looks at sources of ops only to see whether it can go on as for the graph before.
    memory.reserve(this.#graph);
    memory.allocate(this.#graph);
  }

  /**
   * @param segments of the shape
   * @param hidden [rows, hiddenSize] f32, row-major
   * @param wantedRows the rows that the head is asked for
   */
  async set(
    segments: readonly Segment[],
    hidden: Float32Array,
    wantedRows: Int32Array,
  ): Promise<void> {
    this.#set(this.hidden, hidden);
    let firstRow = 0;
    for (const [i, { positions, visible, state }] of segments.entries()) {
      this.#set(this.positions, positions, firstRow * positions.BYTES_PER_ELEMENT);
      for (const [group, { places }] of this.#kv.groups.entries())
        await this.#masks.write(this.#pieces[group]![i]!, visible, places);
      const kept = this.statePieces[i];
      if (kept && state) this.#setSlots(kept, state);
      firstRow += positions.length;
    }
    for (const [{ places }, inputs] of this.ofGroups) {
      let row = 0;
      for (const { cells } of segments)
        for (const cell of cells) this.#placeValues[row++] = BigInt(places.of(cell));
      this.#set(inputs.places, this.#placeValues);
    }
    if (wantedRows.length > 0 && this.wanted) this.#set(this.wanted.indices, wantedRows);
  }

  /** @param into [rows, hiddenSize] f32: what left the layers */
  getHidden(into: Float32Array): void {
    this.ggml.tensorGet(this.hidden, into, 0, into.byteLength);
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
    ggml.expand(this.#graph, tensor);
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

  #set(tensor: Pointer, values: ArrayBufferView, offset = 0): void {
    this.ggml.tensorSet(tensor, values, offset, values.byteLength);
  }
}

function mostInputs({ segments }: StepShape, { groups }: KvCache): number {
  const pieces = groups.map((group, i) =>
    segments.reduce((sum, segment) => sum + piecesOf(segment, group, i).length, 0),
  );
  const ofGroups = pieces.reduce((sum, count) => sum + 1 + count, 0);
  return inputsAround + ofGroups + 2 * segments.length;
}
