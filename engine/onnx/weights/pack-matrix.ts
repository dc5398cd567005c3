import fs from 'node:fs/promises';
import type { TensorInfo } from '../../../model/tensor-source.js';
import { EngineError } from '../../engine.js';
import { writeWhole } from '../../write-whole.js';
import type { MatrixSource } from './joined-matrices.js';
import type { Matrix } from './layout.js';
import type { PackingThreads } from './packing-threads.js';

/** Bytes of a model that are packed in one task. */
const taskBytes = 4 << 20;

/** A matrix to be packed. */
export interface Packing {
  readonly source: MatrixSource;
  readonly tensor: TensorInfo;
  readonly matrix: Matrix;
  /** Path of its file. */
  readonly target: string;
  /** Is told of bytes of the model that are done. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads a matrix in the order of its rows and has them packed meanwhile; its file appears when it is complete, with a
 * hash of its content at its end.
 * @throws ModelError when the model cannot be read, EngineError when the disk cannot be written, the signal's reason
 */
export async function packMatrix(packing: Packing, threads: PackingThreads): Promise<void> {
  const { matrix, target, signal } = packing;
  try {
    await writeWhole(target, async (temporary) => {
      await fs.writeFile(temporary, '');
      await fs.truncate(temporary, matrix.bytes);
      await packRowsInto(temporary, packing, threads);
      const hash = await threads.hash({ file: temporary, bytes: matrix.bytes }, signal);
      await fs.appendFile(temporary, hash);
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw cannotWrite(target, error);
  }
}

async function packRowsInto(
  file: string,
  { source, tensor, matrix, onBytes, signal }: Packing,
  threads: PackingThreads,
): Promise<void> {
  const { inputSize, outputSize, parts } = matrix;
  const rowBytes = tensor.bytes / outputSize;
  const rowsPerTask = Math.max(1, Math.floor(taskBytes / rowBytes));
  const tasks = new Set<Promise<void>>();
  try {
    for (let firstRow = 0; firstRow < outputSize; firstRow += rowsPerTask) {
      signal?.throwIfAborted();
      const rows = Math.min(rowsPerTask, outputSize - firstRow);
      const bytes = new Uint8Array(rows * rowBytes);
      await source.read(tensor.name, firstRow * rowBytes, bytes);
      // Reading ahead of the threads would only fill memory.
      while (tasks.size > threads.count) await Promise.race(tasks);
      const sizes = { inputSize, outputSize };
      const task: Promise<void> = threads
        .pack({ file, typeId: tensor.type.id, parts, matrix: sizes, firstRow, rows, bytes })
        .then(() => {
          tasks.delete(task);
          onBytes(rows * rowBytes);
        });
      // Whoever waits next is told; until then nobody listens.
      task.catch(() => undefined);
      tasks.add(task);
    }
    await Promise.all(tasks);
  } finally {
    await Promise.allSettled(tasks);
  }
}

/** Errors of the file system become ones for users; others stay what they are. */
export function cannotWrite(file: string, cause: unknown): unknown {
  const { code, errno } = cause as NodeJS.ErrnoException;
  if (!(cause instanceof Error) || errno === undefined) return cause;
  return new EngineError('device', `cannot write ${file}: ${code}: choose another --cache-dir`, {
    cause,
  });
}
