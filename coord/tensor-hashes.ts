import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import type { TensorInfo, TensorSource } from '../model/tensor-source.js';
import { writeCached } from './write-cached.js';

const chunkBytes = 8 << 20;

/**
 * SHA-256 of tensors, which workers keep them by. Hashing reads the whole tensor, so results are kept on disk for as
 * long as the model's files are what they were.
 */
export class TensorHashes {
  readonly #file: string;
  readonly #known: Promise<Map<string, string>>;

  constructor(
    private readonly source: TensorSource,
    cacheDirectory: string,
  ) {
    this.#file = path.join(cacheDirectory, 'hashes', `${source.contentKey}.json`);
    this.#known = readHashes(this.#file);
  }

  /** Hex digests in the order of the tensors. */
  async of(tensors: readonly TensorInfo[]): Promise<string[]> {
    const known = await this.#known;
    const before = known.size;
    const hashes: string[] = [];
    for (const tensor of tensors) {
      const hash = known.get(tensor.name) ?? (await this.#hash(tensor));
      known.set(tensor.name, hash);
      hashes.push(hash);
    }
    if (known.size > before) await writeCached(this.#file, JSON.stringify([...known]));
    return hashes;
  }

  async #hash({ name, bytes }: TensorInfo): Promise<string> {
    const hash = createHash('sha256');
    const chunk = new Uint8Array(Math.min(chunkBytes, bytes));
    for (let offset = 0; offset < bytes; offset += chunk.byteLength) {
      const part = chunk.subarray(0, Math.min(chunk.byteLength, bytes - offset));
      await this.source.read(name, offset, part);
      hash.update(part);
    }
    return hash.digest('hex');
  }
}

async function readHashes(file: string): Promise<Map<string, string>> {
  try {
    return new Map(JSON.parse(await fs.readFile(file, 'utf8')) as [string, string][]);
  } catch {
    return new Map();
  }
}
