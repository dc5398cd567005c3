import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { limitFolder, markUsed } from '../engine/limit-folder.js';
import type { StageCosts } from '../speculative/cost-model.js';
import { writeCached } from './write-cached.js';

/** Changes whenever something else is measured. */
const version = 2;

/** Bytes of files that are kept: some thousand. */
const mostBytes = 2e6;

const ms = z.number().nonnegative();
const stageCosts = z
  .array(z.object({ tokens: z.number().positive(), ms: z.number().positive(), msPerCell: ms }))
  .min(1);

/**
 * What was measured when a stage was loaded before. A file is named after a hash of all that it
 * depends on, and says it too; one that cannot be read, or makes no sense, is as good as none.
 */
export class CostCache {
  readonly #folder: string;

  constructor(cacheDirectory: string) {
    this.#folder = path.join(cacheDirectory, 'costs');
  }

  /** @param key all that a stage's costs depend on */
  async stage(key: string): Promise<StageCosts | undefined> {
    const file = this.#file(key);
    try {
      const text = await fs.readFile(file, 'utf8');
      await markUsed(file);
      const kept = z.object({ key: z.literal(key), costs: stageCosts });
      return kept.parse(JSON.parse(text)).costs;
    } catch {
      return undefined;
    }
  }

  async keep(key: string, costs: StageCosts): Promise<void> {
    await writeCached(this.#file(key), JSON.stringify({ key, costs }));
    await limitFolder(this.#folder, mostBytes).catch(() => undefined);
  }

  /** They turned out wrong: the next start measures anew. */
  async forget(key: string): Promise<void> {
    await fs.rm(this.#file(key), { force: true }).catch(() => undefined);
  }

  #file(key: string): string {
    const hash = createHash('sha256').update(`${version} ${key}`).digest('hex');
    return path.join(this.#folder, `${hash}.json`);
  }
}
