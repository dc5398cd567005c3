import type { Ggml, Pointer } from '../bindings.js';
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

/** GGML_PREC_F32 of enum ggml_prec. */
const precisionF32 = 10;

/**
 * One op for all of it (arXiv 2205.14135): what devices are fast with. Every cell is a row of all heads' keys, or values.
 */
export class FlashAttention implements AttentionWay {
  readonly windowStep = 256;

  /** @param type that keys and values are kept in */
  constructor(
    private readonly ggml: Ggml,
    private readonly type: number,
    readonly cells: number,
  ) {}

  tiles(): [number, number] {
    return [0, 0];
  }

  pieces(_: CellAttention, { rows, windowStart, windowLength }: SegmentShape): AttentionPiece[] {
    return [{ firstRow: 0, rows, windowStart, windowLength }];
  }

  describe(context: Pointer, { kvHeads, keySize, valueSize, isLatent }: CellAttention): LayerCache {
    const { ggml, type, cells } = this;
    const kept = (size: number) => ggml.newTensor2d(context, type, kvHeads * size, cells);
    return isLatent ? { keys: kept(keySize) } : { keys: kept(keySize), values: kept(valueSize) };
  }

  cellsOf(
    context: Pointer,
    { kvHeads, keySize, valueSize }: CellAttention,
    { keys, values }: LayerCache,
    { windowStart, windowLength }: CellWindow,
  ): Pointer[] {
    const { ggml, type } = this;
    const part = (tensor: Pointer, size: number) => {
      const rowBytes = ggml.rowBytes(type, kvHeads * size);
      const offset = windowStart * rowBytes;
      return ggml.view2d(context, tensor, kvHeads * size, windowLength, rowBytes, offset);
    };
    return values === undefined
      ? [part(keys, keySize)]
      : [part(keys, keySize), part(values, valueSize)];
  }

  store(
    place: GraphPlace,
    cache: LayerCache,
    keys: Pointer,
    values: Pointer | undefined,
    cells: Pointer,
  ): void {
    this.#store(place, cache.keys, keys, cells);
    if (cache.values !== undefined && values !== undefined)
      this.#store(place, cache.values, values, cells);
  }

  attend(
    context: Pointer,
    attention: CellAttention,
    { keys, values }: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
    sinks?: Pointer,
  ): Pointer {
    const { ggml, type } = this;
    const { kvHeads, keySize, valueSize } = attention;
    const { windowStart, windowLength } = piece;
    /** The window's cells as [size, cells, kvHeads]. @param keptSize features that a head has there */
    const window = (tensor: Pointer, size: number, keptSize = size) => {
      const rowBytes = ggml.rowBytes(type, kvHeads * keptSize);
      const headBytes = ggml.rowBytes(type, keptSize);
      const offset = windowStart * rowBytes;
      return ggml.view3d(context, tensor, size, windowLength, kvHeads, rowBytes, headBytes, offset);
    };
    return flashAttend(
      ggml,
      context,
      attention,
      queries,
      window(keys, keySize),
      values === undefined ? window(keys, valueSize, keySize) : window(values, valueSize),
      piece,
      sinks,
    );
  }

  #store({ context, graph }: GraphPlace, into: Pointer, heads: Pointer, cells: Pointer): void {
    const { ggml } = this;
    const rows = ggml.elementCount(cells);
    const flat = ggml.reshape2d(context, heads, ggml.elementCount(heads) / rows, rows);
    ggml.expand(graph, ggml.setRows(context, into, flat, cells));
  }
}

/**
 * @param queries [keySize, heads, rows] f32
 * @param keys [keySize, window, kvHeads]
 * @param values [valueSize, window, kvHeads]
 * @returns [heads · valueSize, rows] f32
 */
export function flashAttend(
  ggml: Ggml,
  context: Pointer,
  { heads, valueSize, scale, softcap = 0 }: CellAttention,
  queries: Pointer,
  keys: Pointer,
  values: Pointer,
  { rows, mask }: MaskedPiece,
  sinks?: Pointer,
): Pointer {
  const attended = ggml.flashAttention(
    context,
    ggml.permute(context, queries, 0, 2, 1, 3),
    keys,
    values,
    mask,
    scale,
    0,
    softcap,
  );
  if (sinks !== undefined) ggml.addSinksToFlashAttention(attended, sinks);
  ggml.setAttentionPrecision(attended, precisionF32);
  return ggml.reshape2d(context, attended, heads * valueSize, rows);
}
