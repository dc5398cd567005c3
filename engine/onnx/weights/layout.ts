import type { TensorInfo } from '../../../model/tensor-source.js';
import type { FilePart } from '../graph/model-proto.js';

/** Values that share a scale, in GGUF's types and in ONNX Runtime's op for quantized matrices alike. */
export const blockSize = 32;

/** How a matrix is stored for the op that multiplies with it. */
export interface MatrixFormat {
  /**
   * 4 and 8: unsigned integers, of which the middle one stands for 0, and an f32 scale for every block. 32: f32, also
   * for shorter floating-point types, as the CPU multiplies with nothing else.
   */
  readonly bits: 4 | 8 | 32;
  /** Whether every block has an f32 offset that is added after scaling. */
  readonly hasOffsets: boolean;
}

const exactFormats: Readonly<Record<string, MatrixFormat>> = {
  q4_0: { bits: 4, hasOffsets: false },
  q4_1: { bits: 4, hasOffsets: true },
  q8_0: { bits: 8, hasOffsets: false },
  f16: { bits: 32, hasOffsets: false },
  bf16: { bits: 32, hasOffsets: false },
  f32: { bits: 32, hasOffsets: false },
};

/** GGUF's types that the engine computes with as they are. */
export const exactTypes: readonly string[] = Object.keys(exactFormats);

/** What other types become when that is allowed. */
const requantizedFormat: MatrixFormat = { bits: 8, hasOffsets: false };

/** The format of a matrix of this type; for a type that is not exact, the one that it is requantized to. */
export function formatOf(typeName: string): MatrixFormat {
  return exactFormats[typeName] ?? requantizedFormat;
}

/** A matrix on disk. */
export interface Matrix {
  readonly name: string;
  readonly inputSize: number;
  readonly outputSize: number;
  readonly format: MatrixFormat;
  readonly parts: MatrixParts;
  /** Size of the file. */
  readonly bytes: number;
}

/** Where in the file the arrays are: each of one row after the other. Those that the format lacks are empty. */
export interface MatrixParts {
  readonly values: FilePart;
  readonly scales: FilePart;
  readonly offsets: FilePart;
}

/** Bytes of one row in each part. */
export interface RowBytes {
  readonly values: number;
  readonly scales: number;
  readonly offsets: number;
}

/** Parts begin at pages, so that they can be mapped into memory. */
const partAlignment = 4096;

/** Sizes of a row of `columns` values. */
export function rowBytesOf(format: MatrixFormat, columns: number): RowBytes {
  const perBlock = (columns / blockSize) * 4;
  return {
    values: (columns * format.bits) / 8,
    scales: format.bits === 32 ? 0 : perBlock,
    offsets: format.hasOffsets ? perBlock : 0,
  };
}

/** Lays a matrix out in a file. @param file name within the folder of the model */
export function layOut({ name, type, shape }: TensorInfo, file: string): Matrix {
  const [inputSize = 1, outputSize = 1] = shape;
  const format = formatOf(type.name);
  const row = rowBytesOf(format, inputSize);
  let end = 0;
  const part = (bytesPerRow: number): FilePart => {
    const offset = Math.ceil(end / partAlignment) * partAlignment;
    const bytes = bytesPerRow * outputSize;
    if (bytes > 0) end = offset + bytes;
    return { file, offset, bytes };
  };
  const parts = { values: part(row.values), scales: part(row.scales), offsets: part(row.offsets) };
  return { name, inputSize, outputSize, format, parts, bytes: end };
}

/**
 * Bytes that a matrix takes in memory: ONNX Runtime rearranges the values when it loads them, and keeps scales three
 * times: as they are, with the values, and multiplied by the middle value.
 */
export function memoryBytesOf({ parts }: Matrix): number {
  return parts.values.bytes + 3 * parts.scales.bytes + parts.offsets.bytes;
}
