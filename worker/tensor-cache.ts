import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, type Stats } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import type { TensorInfo } from '../model/tensor-source.js';
import { WorkerError } from './errors.js';
import { diskError, TensorWriter } from './tensor-writer.js';

/** By default the cache may take a tenth of its disk, within these bounds. */
const defaultShare = 0.1;
const leastDefaultBytes = 20e9;
const mostDefaultBytes = 500e9;

/** What was used within this time may be needed by another worker that loads it now; what was written may grow yet. */
const inUseMs = 60 * 60 * 1000;

const partSuffix = '.part';
const hashChunkBytes = 1 << 20;

export interface TensorCacheOptions {
  readonly cacheDirectory: string;
  /** Bytes that are kept; a shard that is being loaded may be larger. Default: 10 % of the disk, 20 to 500 GB. */
  readonly limitBytes?: number | undefined;
  readonly logger: Logger;
}

/** A tensor that the coordinator described. */
export interface HashedTensor extends TensorInfo {
  /** Of its data, 64 hex digits. */
  readonly sha256: string;
}

interface CachedFile {
  readonly path: string;
  readonly bytes: number;
  readonly writtenMs: number;
  readonly usedMs: number;
  /** It is being written, or was and will never be finished. */
  readonly isPart: boolean;
}

/**
 * Tensors on disk under the SHA-256 of their data, so that no shard is sent twice and none can be confused. Several
 * workers may share the folder. The access time of a file says when it was last asked for.
 */
export class TensorCache {
  readonly #folder: string;
  /** Modification times, in ms, that files had when their hash was found to be right. */
  readonly #checked = new Map<string, number>();

  constructor(private readonly options: TensorCacheOptions) {
    this.#folder = path.join(options.cacheDirectory, 'tensors');
  }

  /** Path of a tensor's data, there or not. @param sha256 64 hex digits */
  path(sha256: string): string {
    return path.join(this.#folder, sha256);
  }

  /**
   * Those of the tensors that are not here. Files are hashed once, and again when they have changed; a damaged one is
   * deleted.
   * @throws WorkerError 'message' when one that is here is of another size, the signal's reason
   */
  async missing(tensors: Iterable<HashedTensor>, signal: AbortSignal): Promise<HashedTensor[]> {
    const missing: HashedTensor[] = [];
    for (const tensor of tensors) if (!(await this.#has(tensor, signal))) missing.push(tensor);
    return missing;
  }

  /**
   * Makes room for more by deleting what was not asked for longest.
   * @param needed SHA-256 of tensors that stay
   * @throws WorkerError 'disk' when there is too little room all the same
   */
  async makeRoom(bytes: number, needed: ReadonlySet<string>): Promise<void> {
    await this.removeLeftovers();
    const { files, disk } = await this.#contents().catch(diskError);
    const limit = this.options.limitBytes ?? defaultLimit(disk.totalBytes);
    let free = disk.freeBytes;
    let kept = files.reduce((sum, file) => sum + file.bytes, 0);
    const unused = files
      .filter((file) => !file.isPart && !needed.has(path.basename(file.path)) && isOld(file.usedMs))
      .sort((a, b) => a.usedMs - b.usedMs);
    for (const file of unused) {
      if (kept + bytes <= limit && bytes <= free) break;
      if (!(await remove(file.path))) continue;
      kept -= file.bytes;
      free += file.bytes;
    }
    if (bytes > free)
      throw new WorkerError(
        'disk',
        `the disk of ${this.#folder} has ${Math.floor(free / 1e6)} MB free, the shard needs ${Math.ceil(bytes / 1e6)} MB: free some, or choose another --cache-dir`,
      );
  }

  /** Deletes what transfers have left behind that nobody will finish. Never fails: it is a matter of tidiness. */
  async removeLeftovers(): Promise<void> {
    const files = await this.#files().catch(() => []);
    for (const file of files) if (file.isPart && isOld(file.writtenMs)) await remove(file.path);
  }

  /** Begins to store a tensor; it appears in the cache only when it is complete and its hash is right. */
  store({ name, sha256, bytes }: HashedTensor): Promise<TensorWriter> {
    const target = this.path(sha256);
    const temporary = `${target}.${randomUUID()}${partSuffix}`;
    return TensorWriter.open({ name, sha256, bytes, target, temporary });
  }

  async #has({ name, sha256, bytes }: HashedTensor, signal: AbortSignal): Promise<boolean> {
    const file = this.path(sha256);
    const found = await fs.stat(file).catch(() => undefined);
    if (!found) return false;
    if (await this.#isRight(sha256, found, signal)) {
      if (found.size !== bytes)
        throw new WorkerError('message', `tensor ${name} has ${found.size} bytes, not ${bytes}`);
      await fs.utimes(file, new Date(), found.mtime).catch(() => undefined);
      return true;
    }
    this.options.logger.warn(
      `tensor ${name} is damaged in the cache: it is deleted, and asked for again`,
    );
    await remove(file);
    return false;
  }

  async #isRight(sha256: string, { mtime }: Stats, signal: AbortSignal): Promise<boolean> {
    const writtenMs = mtime.getTime();
    if (this.#checked.get(sha256) === writtenMs) return true;
    if ((await hashOf(this.path(sha256), signal)) !== sha256) return false;
    this.#checked.set(sha256, writtenMs);
    return true;
  }

  async #contents(): Promise<{
    files: CachedFile[];
    disk: { freeBytes: number; totalBytes: number };
  }> {
    await fs.mkdir(this.#folder, { recursive: true });
    const { bavail, blocks, bsize } = await fs.statfs(this.#folder);
    const disk = { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    return { files: await this.#files(), disk };
  }

  async #files(): Promise<CachedFile[]> {
    const names = await fs.readdir(this.#folder);
    const files = await Promise.all(names.map((name) => describe(path.join(this.#folder, name))));
    return files.filter((file) => file !== undefined);
  }
}

/** @returns undefined when it is gone meanwhile, or is no file */
async function describe(file: string): Promise<CachedFile | undefined> {
  const found = await fs.stat(file).catch(() => undefined);
  if (!found?.isFile()) return undefined;
  return {
    path: file,
    bytes: found.size,
    writtenMs: found.mtimeMs,
    usedMs: found.atimeMs,
    isPart: file.endsWith(partSuffix),
  };
}

/** @returns whether the file is gone; the system may keep one that somebody uses */
async function remove(file: string): Promise<boolean> {
  return fs.rm(file, { force: true }).then(
    () => true,
    () => false,
  );
}

/** @returns undefined when the file cannot be read to its end */
async function hashOf(file: string, signal: AbortSignal): Promise<string | undefined> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: hashChunkBytes })) {
      signal.throwIfAborted();
      hash.update(chunk as Buffer);
    }
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
  return hash.digest('hex');
}

function isOld(timeMs: number): boolean {
  return Date.now() - timeMs > inUseMs;
}

function defaultLimit(diskBytes: number): number {
  return Math.min(mostDefaultBytes, Math.max(leastDefaultBytes, defaultShare * diskBytes));
}
