import { createHash, randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { Piscina } from 'piscina';
import type { TensorInfo } from '../../../model/tensor-source.js';
import { EngineError } from '../../engine.js';
import { decoderOf } from './decode.js';
import type { MatrixSource } from './joined-matrices.js';
import { layOut, type Matrix } from './layout.js';
import type { PackTask } from './pack-task.js';

/** Bytes of a model that are packed in one task. */
const taskBytes = 4 << 20;

/** Changes whenever the files would look different. */
const layoutVersion = 1;

/** Called as bytes of the model are done. */
type OnBytes = (bytes: number) => void;

/**
 * Matrices on disk as the engine computes with them. A file is named after a hash of the model's fingerprint, which
 * stands for its content, and of the tensor's place in it: other models and other versions have other files.
 */
export class MatrixCache {
  readonly folder: string;

  /** @param threads that pack what is not there yet */
  constructor(
    cacheDirectory: string,
    private readonly threads: number,
  ) {
    this.folder = path.join(path.resolve(cacheDirectory), 'onnx');
  }

  /**
   * Makes sure that matrices are on disk.
   * @param onBytes is told the size in the model of what is there and of what gets packed
   * @throws ModelError when the model cannot be read, EngineError when the disk cannot be written
   */
  async provide(
    source: MatrixSource,
    tensors: readonly TensorInfo[],
    onBytes: OnBytes,
  ): Promise<Matrix[]> {
    const matrices = tensors.map((tensor) => layOut(tensor, fileNameOf(source, tensor)));
    const missing: number[] = [];
    for (const [i, matrix] of matrices.entries()) {
      const isThere = await this.#has(matrix);
      if (isThere) onBytes(tensors[i]?.bytes ?? 0);
      else missing.push(i);
    }
    if (missing.length === 0) return matrices;
    // A library that only threads have loaded is unloaded with the last of them, and ggml's cannot be loaded twice.
    for (const i of missing) decoderOf((tensors[i] as TensorInfo).type);
    await this.#makeRoom(missing.reduce((sum, i) => sum + (matrices[i]?.bytes ?? 0), 0));
    const pool = new Piscina<PackTask, void>({
      filename: new URL('pack-task.js', import.meta.url).href,
      minThreads: 1,
      maxThreads: this.threads,
    });
    try {
      for (const i of missing)
        await this.#pack(pool, source, tensors[i] as TensorInfo, matrices[i] as Matrix, onBytes);
    } finally {
      await pool.destroy();
    }
    return matrices;
  }

  async #has({ parts, bytes }: Matrix): Promise<boolean> {
    const found = await fs.stat(path.join(this.folder, parts.values.file)).catch(() => undefined);
    return found?.size === bytes;
  }

  async #makeRoom(bytes: number): Promise<void> {
    try {
      await fs.mkdir(this.folder, { recursive: true });
      const { bavail, bsize } = await fs.statfs(this.folder);
      if (bavail * bsize >= bytes) return;
      throw new EngineError(
        `the disk of ${this.folder} has ${Math.floor((bavail * bsize) / 1e6)} MB free, the packed weights need ${Math.ceil(bytes / 1e6)} MB: free some, or choose another --cache-dir`,
      );
    } catch (error) {
      throw cannotWrite(this.folder, error);
    }
  }

  /** Reads a matrix in the order of its rows and has them packed meanwhile; its file appears when it is complete. */
  async #pack(
    pool: Piscina<PackTask, void>,
    source: MatrixSource,
    tensor: TensorInfo,
    matrix: Matrix,
    onBytes: OnBytes,
  ): Promise<void> {
    const target = path.join(this.folder, matrix.parts.values.file);
    const temporary = `${target}.${randomUUID()}.part`;
    const { inputSize, outputSize, parts } = matrix;
    const rowBytes = tensor.bytes / outputSize;
    const rowsPerTask = Math.max(1, Math.floor(taskBytes / rowBytes));
    const tasks = new Set<Promise<void>>();
    try {
      await fs.writeFile(temporary, '');
      await fs.truncate(temporary, matrix.bytes);
      for (let firstRow = 0; firstRow < outputSize; firstRow += rowsPerTask) {
        const rows = Math.min(rowsPerTask, outputSize - firstRow);
        const bytes = new Uint8Array(rows * rowBytes);
        await source.read(tensor.name, firstRow * rowBytes, bytes);
        // Reading ahead of the threads would only fill memory.
        while (tasks.size > this.threads) await Promise.race(tasks);
        const task: Promise<void> = pool
          .run(
            {
              file: temporary,
              typeId: tensor.type.id,
              parts,
              matrix: { inputSize, outputSize },
              firstRow,
              rows,
              bytes,
            },
            { transferList: [bytes.buffer] },
          )
          .then(() => {
            tasks.delete(task);
            onBytes(rows * rowBytes);
          });
        // Whoever waits next is told; until then nobody listens.
        task.catch(() => undefined);
        tasks.add(task);
      }
      await Promise.all(tasks);
      await fs.rename(temporary, target);
    } catch (error) {
      await Promise.allSettled(tasks);
      await fs.rm(temporary, { force: true });
      throw cannotWrite(target, error);
    }
  }
}

function fileNameOf({ fingerprint }: MatrixSource, { name, type, shape }: TensorInfo): string {
  return createHash('sha256')
    .update(JSON.stringify([layoutVersion, fingerprint, name, type.id, shape]))
    .digest('hex');
}

/** Errors of the file system become ones for users; others stay what they are. */
function cannotWrite(file: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (!(error instanceof Error) || typeof code !== 'string') return error;
  return new EngineError(`cannot write ${file}: ${code}: choose another --cache-dir`);
}
