import { randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { unfinishedSuffix } from '../engine/limit-folder.js';

/**
 * Writes a file of a cache, whole or not at all. A cache that cannot be written costs time at the next start, nothing
 * else.
 */
export async function writeCached(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomUUID()}${unfinishedSuffix}`;
  try {
    await fs.mkdir(path.dirname(file), { recursive: true });
    await fs.writeFile(temporary, text);
    await fs.rename(temporary, file);
  } catch {
    await fs.rm(temporary, { force: true }).catch(() => undefined);
  }
}
