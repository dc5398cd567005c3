/** How a hidden state can be encoded on a link. */
export type CodecName = 'f32' | 'f16' | 'bf16' | 'fp8' | 'int8';

/** What can be asked for: a codec, or the most exact one that the link carries for free. */
export type CodecChoice = CodecName | 'auto';

/** Encodes rows of hidden states. Stateless; buffers belong to the caller. */
export interface Codec {
  readonly name: CodecName;
  /** Bytes of `rows` encoded rows of `rowSize` floats. */
  encodedBytes(rows: number, rowSize: number): number;
  /**
   * @param values [rows, rowSize], row-major.
   * @param into `encodedBytes(rows, rowSize)` bytes at any address.
   */
  encode(values: Float32Array, rows: number, rowSize: number, into: Uint8Array): void;
  /**
   * @param bytes `encodedBytes(rows, rowSize)` bytes at any address.
   * @param into receives [rows, rowSize], row-major.
   */
  decode(bytes: Uint8Array, rows: number, rowSize: number, into: Float32Array): void;
}
