import { tensorType, type Ggml, type Pointer } from '../bindings.js';
import type { CellAttention, CellWindow, LayerCache } from './attention.js';

const f16Bytes = Uint16Array.BYTES_PER_ELEMENT;

/**
 * A window of what a layer keeps on a CPU: every head's keys, [keySize, cells], in a type of their own, and its values,
 * transposed, [cells, valueSize], in f16. Where values are the first features of keys there is one head.
 */
export class CellViews {
  /**
   * @param keyType that keys are kept in
   * @param cells that there is memory for
   */
  constructor(
    private readonly ggml: Ggml,
    private readonly keyType: number,
    private readonly cells: number,
  ) {}

  /** [keySize, window, kvHeads] as they are kept. */
  keys(
    context: Pointer,
    { kvHeads, keySize }: CellAttention,
    { keys }: LayerCache,
    { windowStart, windowLength }: CellWindow,
  ): Pointer {
    const { ggml, cells } = this;
    const bytes = ggml.rowBytes(this.keyType, keySize);
    return ggml.view3d(
      context,
      keys,
      keySize,
      windowLength,
      kvHeads,
      bytes,
      bytes * cells,
      bytes * windowStart,
    );
  }

  /** [window, valueSize, kvHeads] */
  transposedValues(
    context: Pointer,
    attention: CellAttention,
    cache: LayerCache,
    window: CellWindow,
  ): Pointer {
    const { ggml, cells } = this;
    const { kvHeads, valueSize } = attention;
    const { windowStart, windowLength } = window;
    if (cache.values === undefined) {
      const latent = this.#latent(
        context,
        attention,
        window,
        this.keys(context, attention, cache, window),
        this.keyType,
      );
      const isPlain = this.keyType === tensorType.f16;
      const plain = isPlain ? latent : ggml.cast(context, latent, tensorType.f32);
      return ggml.contiguous(context, ggml.permute(context, plain, 1, 0, 2, 3));
    }
    const featureBytes = cells * f16Bytes;
    return ggml.view3d(
      context,
      cache.values,
      windowLength,
      valueSize,
      kvHeads,
      featureBytes,
      featureBytes * valueSize,
      f16Bytes * windowStart,
    );
  }

  /** Keys and values, [size, window, kvHeads], of one type that flash attention has tiles for. */
  byCell(
    context: Pointer,
    attention: CellAttention,
    cache: LayerCache,
    window: CellWindow,
  ): Required<LayerCache> {
    const { ggml } = this;
    const isPlain = this.keyType === tensorType.f16;
    const kept = this.keys(context, attention, cache, window);
    const keys = isPlain ? kept : ggml.cast(context, kept, tensorType.f32);
    if (cache.values === undefined) {
      const type = isPlain ? tensorType.f16 : tensorType.f32;
      return { keys, values: this.#latent(context, attention, window, keys, type) };
    }
    const transposed = this.transposedValues(context, attention, cache, window);
    const turned = ggml.permute(context, transposed, 1, 0, 2, 3);
    const values = isPlain
      ? ggml.contiguous(context, turned)
      : ggml.cast(context, turned, tensorType.f32);
    return { keys, values };
  }

  /** The first features of keys, [valueSize, window, 1], of their type. */
  #latent(
    context: Pointer,
    { keySize, valueSize }: CellAttention,
    { windowLength }: CellWindow,
    keys: Pointer,
    type: number,
  ): Pointer {
    const bytes = this.ggml.rowBytes(type, keySize);
    const plane = bytes * windowLength;
    return this.ggml.view3d(context, keys, valueSize, windowLength, 1, bytes, plane, 0);
  }
}
