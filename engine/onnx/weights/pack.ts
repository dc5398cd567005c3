import type { TensorType } from '../../../model/gguf/tensor-types.js';
import { decoderOf } from './decode.js';
import { halfAt } from './half.js';
import { blockSize, exactTypes, formatOf, rowBytesOf } from './layout.js';

/** Rows of a matrix as the op for it takes them. */
export interface PackedRows {
  readonly values: Uint8Array;
  /** Empty where the format has none. */
  readonly scales: Float32Array;
  readonly offsets: Float32Array;
}

/**
 * Packs rows of a matrix, of any type: those that are not exact are decoded and quantized again, to 8 bits.
 * @param bytes [rows, columns] as in GGUF
 */
export function packRows(
  type: TensorType,
  bytes: Uint8Array,
  rows: number,
  columns: number,
): PackedRows {
  const row = rowBytesOf(formatOf(type.name), columns);
  const packed = {
    values: new Uint8Array(new ArrayBuffer(rows * row.values)),
    scales: new Float32Array((rows * row.scales) / 4),
    offsets: new Float32Array((rows * row.offsets) / 4),
  };
  if (!exactTypes.includes(type.name)) requantize(type, bytes, rows * columns, packed);
  else if (type.name === 'q4_0') pack4Bits(bytes, 18, packed);
  else if (type.name === 'q4_1') pack4Bits(bytes, 20, packed);
  else if (type.name === 'q8_0') pack8Bits(bytes, packed);
  else decoderOf(type)(bytes, new Float32Array(packed.values.buffer));
  return packed;
}

/** A block of GGUF's: an f16 scale, for q4_1 an f16 offset, then 16 bytes with value i and 16 + i in one. */
function pack4Bits(bytes: Uint8Array, blockBytes: number, packed: PackedRows): void {
  const { values, scales, offsets } = packed;
  const hasOffsets = offsets.length > 0;
  for (let block = 0, at = 0; block < scales.length; block++, at += blockBytes) {
    const scale = halfAt(bytes, at);
    scales[block] = scale;
    // The op takes 8 off every value.
    if (hasOffsets) offsets[block] = halfAt(bytes, at + 2) + 8 * scale;
    const from = at + blockBytes - 16;
    const to = block * 16;
    // Neighbours share a byte here.
    for (let i = 0; i < 8; i++) {
      const first = bytes[from + 2 * i]!;
      const second = bytes[from + 2 * i + 1]!;
      values[to + i] = (first & 15) | ((second & 15) << 4);
      values[to + 8 + i] = (first >> 4) | (second & 0xf0);
    }
  }
}

/** Signed bytes become unsigned ones around 128. */
function pack8Bits(bytes: Uint8Array, { values, scales }: PackedRows): void {
  for (let block = 0, at = 0; block < scales.length; block++, at += 34) {
    scales[block] = halfAt(bytes, at);
    for (let i = 0; i < blockSize; i++) values[block * blockSize + i] = bytes[at + 2 + i]! ^ 0x80;
  }
}

function requantize(
  type: TensorType,
  bytes: Uint8Array,
  count: number,
  { values, scales }: PackedRows,
): void {
  const exact = new Float32Array(count);
  decoderOf(type)(bytes, exact);
  for (let block = 0; block < scales.length; block++) {
    const from = block * blockSize;
    let largest = 0;
    for (let i = from; i < from + blockSize; i++) largest = Math.max(largest, Math.abs(exact[i]!));
    const scale = largest / 127;
    scales[block] = scale;
    for (let i = from; i < from + blockSize; i++)
      values[i] = 128 + (scale === 0 ? 0 : Math.round(exact[i]! / scale));
  }
}
