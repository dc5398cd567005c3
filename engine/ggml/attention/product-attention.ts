import type { StageOptions } from '../../engine.js';
import { tileRows, wholeTiles } from '../../../step/tiles.js';
import { tensorType, type Ggml, type Pointer } from '../bindings.js';
import { CellViews } from './cell-views.js';
import { flashAttend } from './flash-attention.js';
import type {
  AttentionPiece,
  AttentionWay,
  CellAttention,
  CellWindow,
  GraphPlace,
  LayerCache,
  MaskedPiece,
  SegmentShape,
} from './attention.js';

const f32Bytes = Float32Array.BYTES_PER_ELEMENT;
const f16Bytes = Uint16Array.BYTES_PER_ELEMENT;

/** Scores of all heads that are in memory at a time: more would not stay in a processor's cache. */
const mostScores = 4 << 20;

/** Rows that are attended together however many scores that makes. */
const leastRows = 16;

/** Kernels take this many cells at once; a rest would meet another kernel, which rounds differently. */
const windowStep = 64;

/** Cells that there is memory for: a window may begin anywhere, and its length is a multiple of steps. */
export function productCells(used: number): number {
  return (Math.ceil(used / windowStep) + 1) * windowStep;
}

/** Scratch memory: scores, and a layer's window as products and flash attention take it. */
export function productScratchBytes(
  { cells, kvType }: Pick<StageOptions, 'cells' | 'kvType'>,
  { heads, kvHeads, keySize, valueSize, isLatent }: CellAttention,
): number {
  const scores = Math.max(mostScores, leastRows * heads * cells);
  const window = cells * kvHeads;
  const isPlain = kvType === 'f16' && !isLatent;
  return (
    scores * f32Bytes + window * (isPlain ? valueSize * f16Bytes : (keySize + valueSize) * f32Bytes)
  );
}

/**
 * Two products with a softmax between them: what CPUs are fast with for few rows, where flash attention computes one at a
 * time. Every head has its keys together, [keySize, cells], and its values, transposed, [cells, valueSize], so that
 * products read memory in order. Values are f16 whatever keys are: in a quantized block there would be values of 32 cells.
 * Whole tiles of a text go through flash attention, which is twice as fast for them. The heads that share a head of keys
 * are rows of one product, so that keys and values are read once.
 */
export class ProductAttention implements AttentionWay {
  readonly windowStep = windowStep;
  readonly cells: number;
  readonly #views: CellViews;

  /**
   * @param keyType that keys are kept in
   * @param cells that are used
   */
  constructor(
    private readonly ggml: Ggml,
    private readonly keyType: number,
    cells: number,
  ) {
    this.cells = productCells(cells);
    this.#views = new CellViews(ggml, keyType, this.cells);
  }

  tiles(positions: Int32Array): [number, number] {
    const [first = 0] = positions;
    const isRun = positions.every((position, i) => position === first + i);
    return isRun ? wholeTiles(first, positions.length) : [0, 0];
  }

  pieces({ heads }: CellAttention, { rows, tiles, ...window }: SegmentShape): AttentionPiece[] {
    const most = Math.max(leastRows, Math.floor(mostScores / (heads * window.windowLength)));
    const few = (first: number, end: number): AttentionPiece[] =>
      evenly(first, end, most).map((piece) => ({ ...window, ...piece }));
    const [first, end] = tiles;
    if (first === end) return few(0, rows);
    const whole = { ...window, firstRow: first, rows: end - first };
    return [...few(0, first), whole, ...few(end, rows)];
  }

  describe(context: Pointer, { kvHeads, keySize, valueSize, isLatent }: CellAttention): LayerCache {
    const { ggml, keyType, cells } = this;
    const keys = ggml.newTensor3d(context, keyType, keySize, cells, kvHeads);
    if (isLatent) return { keys };
    return { keys, values: ggml.newTensor3d(context, tensorType.f16, cells, valueSize, kvHeads) };
  }

  cellsOf(
    context: Pointer,
    attention: CellAttention,
    cache: LayerCache,
    window: CellWindow,
  ): Pointer[] {
    const keys = this.#views.keys(context, attention, cache, window);
    if (cache.values === undefined) return [keys];
    return [keys, this.#views.transposedValues(context, attention, cache, window)];
  }

  store(
    { context, graph }: GraphPlace,
    cache: LayerCache,
    keys: Pointer,
    values: Pointer | undefined,
    cells: Pointer,
  ): void {
    const { ggml } = this;
    const keyRows = ggml.permute(context, keys, 0, 2, 1, 3);
    ggml.expand(graph, ggml.setRows(context, cache.keys, keyRows, cells));
    if (cache.values === undefined || values === undefined) return;
    // Features are planes of cells, in which a row is a single value.
    const rows = ggml.elementCount(cells);
    const features = ggml.elementCount(values) / rows;
    const planes = (tensor: Pointer, count: number, rowBytes: number, planeBytes: number) =>
      ggml.view3d(context, tensor, 1, count, features, rowBytes, planeBytes, 0);
    const into = planes(cache.values, this.cells, f16Bytes, this.cells * f16Bytes);
    const valueRows = planes(values, rows, features * f32Bytes, f32Bytes);
    ggml.expand(graph, ggml.setRows(context, into, valueRows, cells));
  }

  attend(
    context: Pointer,
    attention: CellAttention,
    cache: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
    sinks?: Pointer,
  ): Pointer {
    if (piece.rows < tileRows)
      return this.#products(context, attention, cache, queries, piece, sinks);
    const { keys, values } = this.#views.byCell(context, attention, cache, piece);
    return flashAttend(this.ggml, context, attention, queries, keys, values, piece, sinks);
  }

  #products(
    context: Pointer,
    attention: CellAttention,
    cache: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
    sinks: Pointer | undefined,
  ): Pointer {
    const { ggml } = this;
    const { heads, keySize, valueSize } = attention;
    const { rows } = piece;
    const keys = this.#views.keys(context, attention, cache, piece);
    const values = this.#views.transposedValues(context, attention, cache, piece);
    const byHead = this.#swapOuter(context, queries, keySize, heads, rows);
    const scores = this.#multiply(context, attention, keys, byHead, rows);
    const weights = this.#softMax(context, attention, scores, piece.mask, sinks);
    const attended = this.#multiply(context, attention, values, weights, rows);
    const byRow = this.#swapOuter(context, attended, valueSize, rows, heads);
    return ggml.reshape2d(context, byRow, heads * valueSize, rows);
  }

  /** @param x [size, rows, heads] @returns the same of another size */
  #multiply(
    context: Pointer,
    { heads, kvHeads }: CellAttention,
    matrix: Pointer,
    x: Pointer,
    rows: number,
  ): Pointer {
    const { ggml } = this;
    const size = ggml.elementCount(x) / (rows * heads);
    const perGroup = (rows * heads) / kvHeads;
    const grouped = ggml.reshape3d(context, x, size, perGroup, kvHeads);
    // Kernels for a lone row round differently: such a row is there twice.
    const product =
      perGroup === 1
        ? this.#firstRows(
            context,
            ggml.mulMat(context, matrix, ggml.concat(context, grouped, grouped, 1)),
            kvHeads,
          )
        : ggml.mulMat(context, matrix, grouped);
    return ggml.reshape3d(
      context,
      product,
      ggml.elementCount(product) / (rows * heads),
      rows,
      heads,
    );
  }

  /** @param scores [window, rows, heads] */
  #softMax(
    context: Pointer,
    { scale, softcap }: CellAttention,
    scores: Pointer,
    mask: Pointer,
    sinks: Pointer | undefined,
  ): Pointer {
    const { ggml } = this;
    const capped = softcap === undefined ? scores : this.#cap(context, scores, scale, softcap);
    const factor = softcap === undefined ? scale : 1;
    const weights = ggml.softMax(context, capped, mask, factor, 0);
    if (sinks !== undefined) ggml.addSinksToSoftMax(weights, sinks);
    return weights;
  }

  #cap(context: Pointer, scores: Pointer, scale: number, cap: number): Pointer {
    const { ggml } = this;
    const within = ggml.tanh(context, ggml.scale(context, scores, scale / cap));
    return ggml.scale(context, within, cap);
  }

  /** [size, a, b] → [size, b, a], contiguous. */
  #swapOuter(context: Pointer, x: Pointer, size: number, a: number, b: number): Pointer {
    const { ggml } = this;
    const whole = ggml.reshape3d(context, x, size, a, b);
    if (a === 1 || b === 1) return whole;
    return ggml.contiguous(context, ggml.permute(context, whole, 0, 2, 1, 3));
  }

  /** [size, 2, groups] → [size, 1, groups], contiguous. */
  #firstRows(context: Pointer, x: Pointer, groups: number): Pointer {
    const { ggml } = this;
    const size = ggml.elementCount(x) / (2 * groups);
    const rowBytes = size * f32Bytes;
    const rows = ggml.view3d(context, x, size, 1, groups, rowBytes, 2 * rowBytes, 0);
    return ggml.contiguous(context, rows);
  }
}

/** Rows [first, end) in pieces of nearly equal length. */
function evenly(
  first: number,
  end: number,
  most: number,
): Pick<AttentionPiece, 'firstRow' | 'rows'>[] {
  const count = Math.ceil((end - first) / most);
  const start = (i: number) => first + Math.floor((i * (end - first)) / count);
  return Array.from({ length: count }, (_, i) => ({
    firstRow: start(i),
    rows: start(i + 1) - start(i),
  }));
}
