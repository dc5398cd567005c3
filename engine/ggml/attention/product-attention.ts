import type { GroupedQueryAttention } from '../../../model/architectures/layer.js';
import type { StageOptions } from '../../engine.js';
import { tileRows, wholeTiles } from '../../../step/tiles.js';
import { tensorType, type Ggml, type Pointer } from '../bindings.js';
import { flashAttend } from './flash-attention.js';
import type {
  AttentionPiece,
  AttentionWay,
  GraphPlace,
  LayerCache,
  MaskedPiece,
  SegmentShape,
} from './attention.js';

const f32Bytes = Float32Array.BYTES_PER_ELEMENT;
const f16Bytes = Uint16Array.BYTES_PER_ELEMENT;

/** Segments of fewer rows have the heads of a group as rows of one product, so that keys and values are read once. */
const foldedBelow = 16;

/** Scores of all heads that are in memory at a time: more would not stay in a processor's cache. */
const mostScores = 4 << 20;

/** Kernels take this many cells at once; a rest would meet another kernel, which rounds differently. */
const windowStep = 64;

/** Cells that there is memory for: a window may begin anywhere, and its length is a multiple of steps. */
export function productCells(used: number): number {
  return (Math.ceil(used / windowStep) + 1) * windowStep;
}

/** Scratch memory: scores, and a layer's window as flash attention takes it. */
export function productScratchBytes(
  { cells, kvType }: Pick<StageOptions, 'cells' | 'kvType'>,
  { heads, kvHeads, keySize, valueSize }: GroupedQueryAttention,
): number {
  const scores = Math.max(mostScores, foldedBelow * heads * cells);
  const window = cells * kvHeads;
  return (
    scores * f32Bytes +
    window * (kvType === 'f16' ? valueSize * f16Bytes : (keySize + valueSize) * f32Bytes)
  );
}

/**
 * Two products with a softmax between them: what CPUs are fast with for few rows, where flash attention computes one at a
 * time. Every head has its keys together, [keySize, cells], and its values, transposed, [cells, valueSize], so that
 * products read memory in order. Values are f16 whatever keys are: in a quantized block there would be values of 32 cells.
 * Whole tiles of a text go through flash attention, which is twice as fast for them.
 */
export class ProductAttention implements AttentionWay {
  readonly windowStep = windowStep;
  readonly cells: number;

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
  }

  tiles(positions: Int32Array): [number, number] {
    const [first = 0] = positions;
    const isRun = positions.every((position, i) => position === first + i);
    return isRun ? wholeTiles(first, positions.length) : [0, 0];
  }

  pieces(
    attention: GroupedQueryAttention,
    { rows, tiles, ...window }: SegmentShape,
  ): AttentionPiece[] {
    const { heads, kvHeads } = attention;
    const most = Math.max(foldedBelow, Math.floor(mostScores / (heads * window.windowLength)));
    const group = heads / kvHeads;
    const few = (first: number, end: number): AttentionPiece[] =>
      evenly(first, end, most).map((piece) => ({
        ...window,
        ...piece,
        // Kernels for a lone row round differently: such a row is there twice.
        maskCopies: piece.rows >= foldedBelow ? 1 : group * piece.rows === 1 ? 2 : group,
      }));
    const [first, end] = tiles;
    if (first === end) return few(0, rows);
    const whole = { ...window, firstRow: first, rows: end - first, maskCopies: 1 };
    return [...few(0, first), whole, ...few(end, rows)];
  }

  describe(context: Pointer, { kvHeads, keySize, valueSize }: GroupedQueryAttention): LayerCache {
    const { ggml, keyType, cells } = this;
    return {
      keys: ggml.newTensor3d(context, keyType, keySize, cells, kvHeads),
      values: ggml.newTensor3d(context, tensorType.f16, cells, valueSize, kvHeads),
    };
  }

  store(
    { context, graph }: GraphPlace,
    cache: LayerCache,
    keys: Pointer,
    values: Pointer,
    cells: Pointer,
  ): void {
    const { ggml } = this;
    const keyRows = ggml.permute(context, keys, 0, 2, 1, 3);
    ggml.expand(graph, ggml.setRows(context, cache.keys, keyRows, cells));
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
    attention: GroupedQueryAttention,
    cache: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
  ): Pointer {
    return piece.rows >= tileRows
      ? this.#flash(context, attention, cache, queries, piece)
      : this.#products(context, attention, cache, queries, piece);
  }

  #products(
    context: Pointer,
    attention: GroupedQueryAttention,
    cache: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
  ): Pointer {
    const { ggml } = this;
    const { heads, kvHeads, keySize, valueSize } = attention;
    const { rows, maskCopies } = piece;
    const isLone = heads * rows === kvHeads;
    // The heads that are rows of one product.
    const group = maskCopies === 1 || isLone ? 1 : heads / kvHeads;
    const groups = heads / group;
    const turned = this.#swapOuter(context, queries, keySize * group, groups, rows);
    const few = ggml.reshape3d(context, turned, keySize, group * rows, groups);
    const input = isLone ? ggml.concat(context, few, few, 1) : few;
    const attended = this.#weigh(context, attention, cache, input, piece);
    const kept = isLone ? this.#firstRows(context, attended, valueSize, groups) : attended;
    const back = this.#swapOuter(context, kept, valueSize * group, rows, groups);
    return ggml.reshape2d(context, back, heads * valueSize, rows);
  }

  /** @param queries [keySize, rows, groups] @returns [valueSize, rows, groups] */
  #weigh(
    context: Pointer,
    attention: GroupedQueryAttention,
    cache: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
  ): Pointer {
    const { ggml } = this;
    const { keys, values } = this.#window(context, attention, cache, piece);
    const scores = ggml.mulMat(context, keys, queries);
    const scale = 1 / Math.sqrt(attention.keySize);
    return ggml.mulMat(context, values, ggml.softMax(context, scores, piece.mask, scale, 0));
  }

  /** Values are transposed for it, and all that it reads is of one type. */
  #flash(
    context: Pointer,
    attention: GroupedQueryAttention,
    cache: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
  ): Pointer {
    const { ggml } = this;
    const { keys, values } = this.#window(context, attention, cache, piece);
    const turned = ggml.permute(context, values, 1, 0, 2, 3);
    const isPlain = this.keyType === tensorType.f16;
    return flashAttend(
      ggml,
      context,
      attention,
      queries,
      isPlain ? keys : ggml.cast(context, keys, tensorType.f32),
      isPlain ? ggml.contiguous(context, turned) : ggml.cast(context, turned, tensorType.f32),
      piece,
    );
  }

  /** The window's keys, [keySize, cells, kvHeads], and values, [cells, valueSize, kvHeads]. */
  #window(
    context: Pointer,
    { kvHeads, keySize, valueSize }: GroupedQueryAttention,
    { keys, values }: LayerCache,
    { windowStart, windowLength }: AttentionPiece,
  ): LayerCache {
    const { ggml, cells } = this;
    const keyBytes = ggml.rowBytes(this.keyType, keySize);
    const featureBytes = cells * f16Bytes;
    return {
      keys: ggml.view3d(
        context,
        keys,
        keySize,
        windowLength,
        kvHeads,
        keyBytes,
        keyBytes * cells,
        keyBytes * windowStart,
      ),
      values: ggml.view3d(
        context,
        values,
        windowLength,
        valueSize,
        kvHeads,
        featureBytes,
        featureBytes * valueSize,
        f16Bytes * windowStart,
      ),
    };
  }

  /** [size, a, b] → [size, b, a], contiguous. */
  #swapOuter(context: Pointer, x: Pointer, size: number, a: number, b: number): Pointer {
    const { ggml } = this;
    const whole = ggml.reshape3d(context, x, size, a, b);
    if (a === 1 || b === 1) return whole;
    return ggml.contiguous(context, ggml.permute(context, whole, 0, 2, 1, 3));
  }

  /** [size, 2, groups] → [size, 1, groups], contiguous. */
  #firstRows(context: Pointer, x: Pointer, size: number, groups: number): Pointer {
    const { ggml } = this;
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
