import type { GroupedQueryAttention } from '../../../model/architectures/layer.js';
import type { Ggml, Pointer } from '../bindings.js';
import type {
  AttentionPiece,
  AttentionWay,
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

  pieces(
    _: GroupedQueryAttention,
    { rows, windowStart, windowLength }: SegmentShape,
  ): AttentionPiece[] {
    return [{ firstRow: 0, rows, windowStart, windowLength, maskCopies: 1 }];
  }

  describe(context: Pointer, { kvHeads, keySize, valueSize }: GroupedQueryAttention): LayerCache {
    const { ggml, type, cells } = this;
    return {
      keys: ggml.newTensor2d(context, type, kvHeads * keySize, cells),
      values: ggml.newTensor2d(context, type, kvHeads * valueSize, cells),
    };
  }

  store(
    place: GraphPlace,
    cache: LayerCache,
    keys: Pointer,
    values: Pointer,
    cells: Pointer,
  ): void {
    this.#store(place, cache.keys, keys, cells);
    this.#store(place, cache.values, values, cells);
  }

  attend(
    context: Pointer,
    attention: GroupedQueryAttention,
    { keys, values }: LayerCache,
    queries: Pointer,
    piece: MaskedPiece,
  ): Pointer {
    const { ggml, type } = this;
    const { kvHeads, keySize, valueSize } = attention;
    const { windowStart, windowLength } = piece;
    /** The window's cells as [size, cells, kvHeads]. */
    const window = (tensor: Pointer, size: number) => {
      const rowBytes = ggml.rowBytes(type, kvHeads * size);
      const headBytes = ggml.rowBytes(type, size);
      const offset = windowStart * rowBytes;
      return ggml.view3d(context, tensor, size, windowLength, kvHeads, rowBytes, headBytes, offset);
    };
    return flashAttend(
      ggml,
      context,
      attention,
      queries,
      window(keys, keySize),
      window(values, valueSize),
      piece,
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
  { heads, keySize, valueSize }: GroupedQueryAttention,
  queries: Pointer,
  keys: Pointer,
  values: Pointer,
  { rows, mask }: MaskedPiece,
): Pointer {
  const attended = ggml.flashAttention(
    context,
    ggml.permute(context, queries, 0, 2, 1, 3),
    keys,
    values,
    mask,
    1 / Math.sqrt(keySize),
    0,
    0,
  );
  ggml.setAttentionPrecision(attended, precisionF32);
  return ggml.reshape2d(context, attended, heads * valueSize, rows);
}
