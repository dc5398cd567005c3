import type { TensorInfo, TensorSource } from '../../../model/tensor-source.js';
import { decoderOf, type Decode } from './decode.js';

/** Bytes that are read at a time. */
const chunkBytes = 64 << 20;

/**
 * The embedding, as the model stores it, in this process's memory whatever the provider: it is large, and only a few
 * rows of it are read.
 */
export class EmbeddingTable {
  readonly #decode: Decode;
  readonly #rowBytes: number;

  private constructor(
    tensor: TensorInfo,
    private readonly data: Uint8Array,
  ) {
    this.#decode = decoderOf(tensor.type);
    this.#rowBytes = tensor.bytes / (tensor.shape[1] ?? 1);
  }

  /** @throws ModelError when the source cannot be read, the signal's reason */
  static async load(
    source: TensorSource,
    tensor: TensorInfo,
    signal?: AbortSignal,
  ): Promise<EmbeddingTable> {
    const data = new Uint8Array(tensor.bytes);
    for (let offset = 0; offset < data.byteLength; offset += chunkBytes) {
      signal?.throwIfAborted();
      await source.read(tensor.name, offset, data.subarray(offset, offset + chunkBytes));
    }
    return new EmbeddingTable(tensor, data);
  }

  get bytes(): number {
    return this.data.byteLength;
  }

  /** @param ids [n] token ids @param into [n, hiddenSize] f32, row-major */
  lookUp(ids: Int32Array, into: Float32Array): void {
    const size = into.length / ids.length;
    ids.forEach((id, row) => {
      const at = id * this.#rowBytes;
      this.#decode(
        this.data.subarray(at, at + this.#rowBytes),
        into.subarray(row * size, (row + 1) * size),
      );
    });
  }
}
