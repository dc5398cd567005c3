import { randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import { unfinishedSuffix } from './limit-folder.js';

/**
 * Writes a file, whole or not at all: it appears when it is complete, and of one that failed nothing is left.
 * @param write makes the file of another name that it is given
 * @throws what `write` throws; Error of the file system
 */
export async function writeWhole(
  file: string,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${file}.${randomUUID()}${unfinishedSuffix}`;
  try {
    await write(temporary);
    await fs.rename(temporary, file);
  } catch (error) {
    await fs.rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}
