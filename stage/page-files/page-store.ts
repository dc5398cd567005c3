import fs from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import { limitFolder, markUsed } from '../../engine/limit-folder.js';
import { fileBytes, readPageFile, writePageFile, type PageName } from './page-file.js';
import { WriteQueue } from './write-queue.js';

/** By default files may take this share of what is free on the disk, but no more than so many bytes. */
const defaultShare = 0.05;
const mostDefaultBytes = 20e9;

/** The folder is looked through each time that this share of the limit was written, and left with that much room. */
const roomShare = 0.1;

export interface PageStoreOptions {
  readonly cacheDirectory: string;
  /** Bytes of files of all stages together; 0 keeps none. Default: 5 % of what is free on the disk, at most 20 GB. */
  readonly limitBytes?: number | undefined;
  readonly logger: Logger;
}

/**
 * Keys and values of pages in plain files, a folder for every stage. All processes of a machine share them, and whatever
 * becomes of a file costs time only: one that cannot be read as it was written is as good as none. What was not used for
 * longest goes first.
 */
export class PageStore {
  readonly #folder: string;
  readonly #queue = new WriteQueue();
  /** What waits to be written, by its file. */
  readonly #waiting = new Map<string, Uint8Array>();
  readonly #warned = new Set<string>();
  #limit: Promise<number> | undefined;
  #writes: boolean;
  /** Bytes that were written since the folder was looked through; at first, what is there already is not known. */
  #written = Infinity;

  constructor(private readonly options: PageStoreOptions) {
    this.#folder = path.join(options.cacheDirectory, 'kv');
    this.#writes = options.limitBytes !== 0;
  }

  /** Whether a page is here, to all appearances; it then counts as used. @param bytes of its keys and values */
  async has(name: PageName, bytes: number): Promise<boolean> {
    if (this.options.limitBytes === 0) return false;
    const file = this.#fileOf(name);
    if (this.#waiting.has(file)) return true;
    const found = await fs.stat(file).catch(() => undefined);
    if (found?.size !== fileBytes(bytes)) return false;
    // Whoever asks will use it, or has it already.
    await markUsed(file).catch(() => undefined);
    return true;
  }

  /** A page's keys and values; undefined when they are not here as they were written, which is warned of once. */
  async read(name: PageName, bytes: number): Promise<Uint8Array | undefined> {
    if (this.options.limitBytes === 0) return undefined;
    const file = this.#fileOf(name);
    const waiting = this.#waiting.get(file);
    if (waiting) return waiting;
    try {
      return await readPageFile(file, name, bytes);
    } catch (error) {
      this.#warn('read', `${file} is of no use, so its page is computed again: ${reason(error)}`);
      // What the system says may be of this moment only.
      if (!isOfSystem(error)) await fs.rm(file, { force: true }).catch(() => undefined);
      return undefined;
    }
  }

  /**
   * Keeps a page, if there is room for it to wait for the disk.
   * @param read gives its keys and values
   * @returns when `read` has. @throws what it throws
   */
  async keep(name: PageName, bytes: number, read: () => Promise<Uint8Array>): Promise<void> {
    const file = this.#fileOf(name);
    if (!this.#writes || this.#waiting.has(file) || !this.#queue.hasRoom(bytes)) return;
    const data = await read();
    this.#waiting.set(file, data);
    this.#queue.add(bytes, async () => {
      await this.#write(file, name, data);
      this.#waiting.delete(file);
    });
  }

  /** Resolves when what is kept so far is written. */
  written(): Promise<void> {
    return this.#queue.written();
  }

  async #write(file: string, name: PageName, data: Uint8Array): Promise<void> {
    if (!this.#writes) return;
    const limit = await this.#limitBytes();
    if (fileBytes(data.byteLength) > limit)
      return this.#stopWriting(
        `a page of ${data.byteLength} bytes is more than the limit of ${limit}`,
      );
    try {
      await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      await writePageFile(file, name, data);
      await this.#limitFolder(data.byteLength, limit);
    } catch (error) {
      this.#stopWriting(reason(error));
    }
  }

  #stopWriting(why: string): void {
    this.#writes = false;
    const rest = 'they are computed again after a restart (--kv-disk 0 does without)';
    this.#warn('write', `cannot keep texts in ${this.#folder}: ${why}; ${rest}`);
  }

  async #limitFolder(written: number, limit: number): Promise<void> {
    this.#written += written;
    if (this.#written < roomShare * limit) return;
    this.#written = 0;
    await limitFolder(this.#folder, (1 - roomShare) * limit, { spareMs: 0 });
  }

  #limitBytes(): Promise<number> {
    return (this.#limit ??= this.#findLimit());
  }

  async #findLimit(): Promise<number> {
    const { limitBytes, cacheDirectory } = this.options;
    if (limitBytes !== undefined) return limitBytes;
    await fs.mkdir(cacheDirectory, { recursive: true }).catch(() => undefined);
    const disk = await fs.statfs(cacheDirectory).catch(() => undefined);
    // Where nothing is told of the disk, writing will tell.
    return disk
      ? Math.min(mostDefaultBytes, defaultShare * disk.bavail * disk.bsize)
      : mostDefaultBytes;
  }

  #fileOf({ identity, key }: PageName): string {
    return path.join(this.#folder, identity, key);
  }

  #warn(about: string, message: string): void {
    if (this.#warned.has(about)) return;
    this.#warned.add(about);
    this.options.logger.warn(message);
  }
}

const systemReasons: Readonly<Record<string, string>> = {
  ENOENT: 'it is gone',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  EROFS: 'the disk is read-only',
  EACCES: 'it is not allowed',
  EPERM: 'it is not allowed',
};

function isOfSystem(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code !== undefined;
}

/** What is wrong, without the path that was told already. */
function reason(error: unknown): string {
  const { message, code = '' } = error as NodeJS.ErrnoException;
  return systemReasons[code] ?? message;
}
