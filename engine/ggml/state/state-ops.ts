import type { GraphPlace } from '../attention/attention.js';
import type { Ggml, Pointer } from '../bindings.js';
import type { LayerStates } from './state-memory.js';

const f32Bytes = Float32Array.BYTES_PER_ELEMENT;

/** Rows of one sequence, and where their state is kept. */
export interface StatePiece {
  /** Among all of the step's. */
  readonly firstRow: number;
  readonly rows: number;
  /** Whether a text begins here, so that nothing is read. */
  readonly begins: boolean;
  /** i32 [1]: the slot that is read. */
  readonly read: Pointer;
  /** i64 [1]: the slot that is written. */
  readonly write: Pointer;
}

/** Upper bound for the tensors that a layer with a state takes in a graph for each segment. */
export const mostStateNodes = 40;

/**
 * Convolves the features of every sequence's rows, and keeps the last rows.
 * @param x f32 [features, rows]
 * @param weight f32 [width, features]
 * @returns f32 [features, rows]
 */
export function convolve(
  ggml: Ggml,
  place: GraphPlace,
  { rows: kept }: LayerStates,
  pieces: readonly StatePiece[],
  x: Pointer,
  features: number,
  weight: Pointer,
): Pointer {
  const { context } = place;
  const before = ggml.elementCount(weight) / features - 1;
  const convolved = pieces.map((piece) => {
    const { firstRow, rows } = piece;
    const rowBytes = features * f32Bytes;
    const own = ggml.view2d(context, x, features, rows, rowBytes, firstRow * rowBytes);
    const byFeature = ggml.permute(context, own, 1, 0, 2, 3);
    const earlier = ggml.reshape2d(
      context,
      readState(ggml, context, kept, piece),
      before,
      features,
    );
    const all = ggml.concat(context, earlier, byFeature, 0);
    const allBytes = (before + rows) * f32Bytes;
    const last = ggml.view2d(context, all, before, features, allBytes, rows * f32Bytes);
    writeState(ggml, place, kept, piece, ggml.contiguous(context, last), before * features);
    return ggml.ssmConv(context, all, weight);
  });
  return joined(ggml, context, convolved);
}

/** What the gated delta rule looks at: f32 [size, keyHeads, rows], [size, heads, rows] and [heads, rows], contiguous. */
export interface DeltaInputs {
  readonly q: Pointer;
  readonly k: Pointer;
  readonly v: Pointer;
  readonly decay: Pointer;
  readonly beta: Pointer;
  readonly size: number;
  readonly keyHeads: number;
  readonly heads: number;
}

/** Goes on with every sequence's state, row by row. @returns f32 [heads · size, rows] */
export function applyDeltaRule(
  ggml: Ggml,
  place: GraphPlace,
  { matrices: kept }: LayerStates,
  pieces: readonly StatePiece[],
  { q, k, v, decay, beta, size, keyHeads, heads }: DeltaInputs,
): Pointer {
  const { context } = place;
  const width = heads * size;
  const read = pieces.map((piece) => {
    const { firstRow, rows } = piece;
    const part = (x: Pointer, features: number, each: number) => {
      const rowBytes = features * each * f32Bytes;
      const view = [
        features,
        each,
        rows,
        features * f32Bytes,
        rowBytes,
        firstRow * rowBytes,
      ] as const;
      return ggml.view3d(context, x, ...view);
    };
    const before = readState(ggml, context, kept, piece);
    const all = ggml.gatedDeltaNet(
      context,
      part(q, size, keyHeads),
      part(k, size, keyHeads),
      part(v, size, heads),
      part(decay, 1, heads),
      part(beta, 1, heads),
      ggml.reshape3d(context, before, size, size, heads),
      1,
    );
    // The new state follows what was read.
    const elements = width * size;
    const bytes = width * f32Bytes;
    const after = ggml.view2d(context, all, elements, 1, elements * f32Bytes, rows * bytes);
    writeState(ggml, place, kept, piece, after, elements);
    return ggml.view2d(context, all, width, rows, bytes, 0);
  });
  return joined(ggml, context, read);
}

/** [elements, 1]: the state before a piece, zeros where a text begins. */
function readState(
  ggml: Ggml,
  context: Pointer,
  kept: Pointer,
  { begins, read }: StatePiece,
): Pointer {
  const state = ggml.getRows(context, kept, read);
  return begins ? ggml.fill(context, state, 0) : state;
}

function writeState(
  ggml: Ggml,
  { context, graph }: GraphPlace,
  kept: Pointer,
  { write }: StatePiece,
  state: Pointer,
  elements: number,
): void {
  const row = ggml.reshape2d(context, state, elements, 1);
  ggml.expand(graph, ggml.setRows(context, kept, row, write));
}

/** Pieces' rows, one piece after the other. */
function joined(ggml: Ggml, context: Pointer, parts: readonly Pointer[]): Pointer {
  return parts.reduce((before, part) => ggml.concat(context, before, part, 1));
}
