import fs from 'node:fs/promises';
import path from 'node:path';
import { writeWhole } from '../engine/write-whole.js';

/**
 * Writes a file of a cache, whole or not at all. A cache that cannot be written costs time at the next start, nothing
 * else.
 */
export async function writeCached(file: string, text: string): Promise<void> {
  try {
    await fs.mkdir(path.dirname(file), { recursive: true });
    await writeWhole(file, (temporary) => fs.writeFile(temporary, text));
  } catch {
    // It is made again.
  }
}
