import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import type { TensorInfo } from '../../../model/tensor-source.js';
import { EngineError } from '../../engine.js';
import { limitFolder, markUsed } from '../../limit-folder.js';
import { decoderOf } from './decode.js';
import type { MatrixSource } from './joined-matrices.js';
import { layOut, type Matrix } from './layout.js';
import { cannotWrite, packMatrix } from './pack-matrix.js';
import { PackingThreads } from './packing-threads.js';

/** Changes whenever the files would look different. */
const layoutVersion = 2;

/** Bytes of the SHA-256 at the end of a file. */
const hashBytes = 32;

/** Bytes of files that are kept although nothing in this process uses them. */
const unusedBytes = 32e9;

export interface MatrixCacheOptions {
  /** Threads that pack what is not there yet, and check what is. */
  readonly threads: number;
  /** Is told of files that were damaged, in one line. */
  readonly warn?: ((message: string) => void) | undefined;
}

/**
 * Matrices on disk as the engine computes with them. A file is named after a hash of what tells the tensor's data and of
 * its place in the model, so that other models and other versions have other files, and ends with a hash of its content.
 */
export class MatrixCache {
  readonly folder: string;
  /** What files looked like when they were found sound; their names are those that this process uses. */
  readonly #sound = new Map<string, string>();

  constructor(
    cacheDirectory: string,
    private readonly options: MatrixCacheOptions,
  ) {
    this.folder = path.join(path.resolve(cacheDirectory), 'onnx');
  }

  /**
   * Makes sure that matrices are on disk, and sound.
   * @param onBytes is told the size in the model of what is there and of what gets packed
   * @throws ModelError when the model cannot be read, EngineError when the disk cannot be written, the signal's reason
   */
  async provide(
    source: MatrixSource,
    tensors: readonly TensorInfo[],
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<Matrix[]> {
    await using threads = new PackingThreads(this.options.threads);
    const matrices = tensors.map((tensor) => layOut(tensor, fileNameOf(source, tensor)));
    const missing: { readonly tensor: TensorInfo; readonly matrix: Matrix }[] = [];
    for (const [i, matrix] of matrices.entries()) {
      const tensor = tensors[i] as TensorInfo;
      if (await this.#isSound(matrix, threads, signal)) onBytes(tensor.bytes);
      else missing.push({ tensor, matrix });
    }
    if (missing.length === 0) return matrices;
    // A library that only threads have loaded is unloaded with the last of them, and ggml's cannot be loaded twice.
    for (const { tensor } of missing) decoderOf(tensor.type);
    await this.#makeRoom(missing.reduce((sum, { matrix }) => sum + matrix.bytes + hashBytes, 0));
    for (const { tensor, matrix } of missing) {
      const target = this.#pathOf(matrix);
      await packMatrix({ source, tensor, matrix, target, onBytes, signal }, threads);
      this.#sound.set(fileOf(matrix), await appearanceOf(target));
    }
    await limitFolder(this.folder, unusedBytes, { keep: new Set(this.#sound.keys()) });
    return matrices;
  }

  /** Whether a matrix is there as it was packed. One that is not is deleted. */
  async #isSound(
    matrix: Matrix,
    threads: PackingThreads,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    signal?.throwIfAborted();
    const file = this.#pathOf(matrix);
    const found = await fs.stat(file).catch(() => undefined);
    if (!found) return false;
    if (this.#sound.get(fileOf(matrix)) === (await appearanceOf(file))) return true;
    if (
      found.size === matrix.bytes + hashBytes &&
      (await hasItsHash(file, matrix, threads, signal))
    ) {
      await markUsed(file);
      this.#sound.set(fileOf(matrix), await appearanceOf(file));
      return true;
    }
    this.options.warn?.(`${file} was damaged: it is packed again`);
    await fs.rm(file, { force: true }).catch((error: unknown) => {
      throw cannotWrite(file, error);
    });
    return false;
  }

  async #makeRoom(bytes: number): Promise<void> {
    try {
      await fs.mkdir(this.folder, { recursive: true });
      const { bavail, bsize } = await fs.statfs(this.folder);
      if (bavail * bsize >= bytes) return;
      throw new EngineError(
        'device',
        `the disk of ${this.folder} has ${Math.floor((bavail * bsize) / 1e6)} MB free, the packed weights need ${Math.ceil(bytes / 1e6)} MB: free some, or choose another --cache-dir`,
      );
    } catch (error) {
      throw cannotWrite(this.folder, error);
    }
  }

  #pathOf(matrix: Matrix): string {
    return path.join(this.folder, fileOf(matrix));
  }
}

/** Shards of one model that come tensor by tensor have matrices in common, which the source's key would not tell. */
function fileNameOf(
  { contentKey }: MatrixSource,
  { name, type, shape, sha256 }: TensorInfo,
): string {
  return createHash('sha256')
    .update(JSON.stringify([layoutVersion, sha256 ?? contentKey, name, type.id, shape]))
    .digest('hex');
}

function fileOf({ parts }: Matrix): string {
  return parts.values.file;
}

/** What changes when somebody writes to a file. */
async function appearanceOf(file: string): Promise<string> {
  const { size, mtimeMs } = await fs.stat(file);
  // Marking a file as used keeps its time only to the millisecond.
  return `${size} ${Math.round(mtimeMs)}`;
}

/** @throws the signal's reason */
async function hasItsHash(
  file: string,
  { bytes }: Matrix,
  threads: PackingThreads,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  // What cannot be read is as bad as what is wrong.
  const hash = await threads.hash({ file, bytes }, signal).catch(() => undefined);
  signal?.throwIfAborted();
  return hash !== undefined && Buffer.from(hash).equals(await readHash(file, bytes));
}

async function readHash(file: string, at: number): Promise<Uint8Array> {
  const stored = new Uint8Array(hashBytes);
  const handle = await fs.open(file);
  try {
    await handle.read(stored, 0, hashBytes, at);
    return stored;
  } finally {
    await handle.close();
  }
}
