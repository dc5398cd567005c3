import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import { tensorTypes, type TensorType } from '../../../model/gguf/tensor-types.js';
import type { Matrix, MatrixParts } from './layout.js';
import { packRows } from './pack.js';

/** Some rows of a matrix, to be packed into its file on another thread. */
export interface PackTask {
  readonly file: string;
  readonly typeId: number;
  readonly parts: MatrixParts;
  readonly matrix: Pick<Matrix, 'inputSize' | 'outputSize'>;
  readonly firstRow: number;
  readonly rows: number;
  /** [rows, inputSize] as in GGUF. */
  readonly bytes: Uint8Array;
}

/** The beginning of a file, to be hashed. */
export interface HashTask {
  readonly file: string;
  readonly bytes: number;
}

/** Bytes that are hashed at a time. */
const blockBytes = 1 << 20;

/** Packs rows and writes them to their places. */
export async function pack(task: PackTask): Promise<void> {
  const { file, typeId, parts, matrix, firstRow, rows, bytes } = task;
  const packed = packRows(tensorTypes.get(typeId) as TensorType, bytes, rows, matrix.inputSize);
  const handle = await fs.open(file, 'r+');
  try {
    for (const name of ['values', 'scales', 'offsets'] as const) {
      const { buffer, byteOffset, byteLength } = packed[name];
      const { offset, bytes: total } = parts[name];
      const place = offset + (total / matrix.outputSize) * firstRow;
      await handle.write(new Uint8Array(buffer, byteOffset, byteLength), 0, byteLength, place);
    }
  } finally {
    await handle.close();
  }
}

/** @returns SHA-256 */
export async function hash({ file, bytes }: HashTask): Promise<Uint8Array> {
  const sum = createHash('sha256');
  const block = new Uint8Array(blockBytes);
  const handle = await fs.open(file);
  try {
    for (let at = 0; at < bytes;) {
      const { bytesRead } = await handle.read(block, 0, Math.min(blockBytes, bytes - at), at);
      if (bytesRead === 0) break;
      sum.update(block.subarray(0, bytesRead));
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
  return sum.digest();
}
