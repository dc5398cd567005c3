import fs from 'node:fs/promises';
import { tensorTypes, type TensorType } from '../../../model/gguf/tensor-types.js';
import { packRows } from './pack.js';
import type { Matrix, MatrixParts } from './layout.js';

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

/** Packs rows and writes them to their places. */
export default async function pack(task: PackTask): Promise<void> {
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
