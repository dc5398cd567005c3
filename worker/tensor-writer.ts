import { createHash, type Hash } from 'node:crypto';
import fs from 'node:fs/promises';
import { WorkerError } from './errors.js';

/** What a writer has to know of its tensor, and where it writes. */
export interface Writing {
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
  /** Path at which the tensor appears when it is complete. */
  readonly target: string;
  readonly temporary: string;
}

/** Hashing more at a time would hold up everything else. */
const pieceBytes = 1 << 20;

/** One tensor on its way into the cache. */
export class TensorWriter {
  readonly #hash: Hash = createHash('sha256');
  #written = 0;

  private constructor(
    private readonly writing: Writing,
    private readonly file: fs.FileHandle,
  ) {}

  /** @throws WorkerError 'disk' */
  static async open(writing: Writing): Promise<TensorWriter> {
    return new TensorWriter(
      writing,
      await fs.open(writing.temporary, 'w').catch((error: unknown) => diskError(error)),
    );
  }

  get name(): string {
    return this.writing.name;
  }

  /**
   * Appends data; the parts come in order.
   * @returns whether the tensor is complete, and in its place
   * @throws WorkerError 'message', 'damaged' or 'disk'
   */
  async append(offset: number, data: Uint8Array): Promise<boolean> {
    const { name, bytes } = this.writing;
    const end = offset + data.byteLength;
    if (offset !== this.#written || end === offset || end > bytes)
      throw new WorkerError('message', `tensor ${name} did not arrive piece by piece`);
    for (let at = 0; at < data.byteLength; at += pieceBytes)
      await this.#write(data.subarray(at, at + pieceBytes));
    if (this.#written < bytes) return false;
    await this.#finish();
    return true;
  }

  /** Gives up on the tensor. Does nothing after it is complete. */
  async discard(): Promise<void> {
    await this.file.close().catch(() => undefined);
    await fs.rm(this.writing.temporary, { force: true });
  }

  async #write(piece: Uint8Array): Promise<void> {
    this.#hash.update(piece);
    try {
      await this.file.appendFile(piece);
    } catch (error) {
      diskError(error);
    }
    this.#written += piece.byteLength;
  }

  async #finish(): Promise<void> {
    const { name, sha256, temporary, target } = this.writing;
    if (this.#hash.digest('hex') !== sha256)
      throw new WorkerError('damaged', `tensor ${name} was damaged on its way: try again`);
    try {
      await this.file.close();
      await fs.rename(temporary, target);
    } catch (error) {
      diskError(error);
    }
  }
}

/** @throws WorkerError 'disk' */
export function diskError(error: unknown): never {
  throw new WorkerError('disk', `cannot keep the shard: ${(error as Error).message}`, {
    cause: error,
  });
}
