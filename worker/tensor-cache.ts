import { createHash, randomUUID, type Hash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { WorkerError } from './errors.js';

/** Tensors on disk under the SHA-256 of their data, so that no shard is sent twice and none can be confused. */
export class TensorCache {
  readonly #folder: string;

  constructor(cacheDirectory: string) {
    this.#folder = path.join(cacheDirectory, 'tensors');
  }

  /** Path of a tensor's data, there or not. @param sha256 64 hex digits @throws WorkerError when it is not. */
  path(sha256: string): string {
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw new WorkerError('a tensor came without its SHA-256');
    return path.join(this.#folder, sha256);
  }

  /** Whether a tensor of this size is here. */
  async has(sha256: string, bytes: number): Promise<boolean> {
    const found = await fs.stat(this.path(sha256)).catch(() => undefined);
    return found?.size === bytes;
  }

  /** @throws WorkerError when the disk has too little room for `bytes` more. */
  async checkRoom(bytes: number): Promise<void> {
    await fs.mkdir(this.#folder, { recursive: true });
    const { bavail, bsize } = await fs.statfs(this.#folder);
    if (bavail * bsize < bytes)
      throw new WorkerError(
        `the disk of ${this.#folder} has ${Math.floor((bavail * bsize) / 1e6)} MB free, the shard needs ${Math.ceil(bytes / 1e6)} MB: free some, or choose another --cache-dir`,
      );
  }

  /** Begins to store a tensor; it appears in the cache only when it is complete and its hash is right. */
  async store(name: string, sha256: string, bytes: number): Promise<TensorWriter> {
    const target = this.path(sha256);
    const temporary = `${target}.${randomUUID()}.part`;
    return new TensorWriter(name, sha256, bytes, target, temporary, await fs.open(temporary, 'w'));
  }
}

/** One tensor on its way into the cache. */
export class TensorWriter {
  readonly #hash: Hash = createHash('sha256');
  #written = 0;

  constructor(
    readonly name: string,
    private readonly sha256: string,
    private readonly bytes: number,
    private readonly target: string,
    private readonly temporary: string,
    private readonly file: fs.FileHandle,
  ) {}

  /** Appends data; the parts come in order. @returns whether the tensor is complete. @throws WorkerError */
  async append(offset: number, data: Uint8Array): Promise<boolean> {
    if (offset !== this.#written || offset + data.byteLength > this.bytes)
      throw new WorkerError(`tensor ${this.name} arrived with a gap`);
    this.#hash.update(data);
    await this.file.write(data, 0, data.byteLength, offset);
    this.#written += data.byteLength;
    if (this.#written < this.bytes) return false;
    await this.#finish();
    return true;
  }

  /** Gives up on the tensor. */
  async discard(): Promise<void> {
    await this.file.close().catch(() => undefined);
    await fs.rm(this.temporary, { force: true });
  }

  async #finish(): Promise<void> {
    if (this.#hash.digest('hex') !== this.sha256) {
      await this.discard();
      throw new WorkerError(`tensor ${this.name} was damaged on its way: try again`);
    }
    await this.file.close();
    await fs.rename(this.temporary, this.target);
  }
}
