import fs from 'node:fs/promises';
import path from 'node:path';

/** Another process may be about to read what was used this recently. */
const spareMs = 60 * 60 * 1000;

/** A file that nobody has finished for this long is not going to be. */
const unfinishedMs = 24 * 60 * 60 * 1000;

/** How the names of files end that are still being written. */
export const unfinishedSuffix = '.part';

/** Marks a file as used now, for `limitFolder`; its time of modification stays. */
export async function markUsed(file: string): Promise<void> {
  const { mtime } = await fs.stat(file);
  await fs.utimes(file, new Date(), mtime);
}

/**
 * Deletes files of a cache that were not used for longest, until the others take no more than a limit, and files that
 * were never finished. Whatever cannot be deleted, because somebody has it open, stays.
 * @param limitBytes of files that are not kept
 * @param keep names of files that stay whatever they take
 */
export async function limitFolder(
  folder: string,
  limitBytes: number,
  keep: ReadonlySet<string> = new Set(),
): Promise<void> {
  const files = await filesOf(folder);
  const now = Date.now();
  const remove = (name: string) => fs.rm(path.join(folder, name)).catch(() => undefined);
  let total = 0;
  for (const { name, bytes, usedMs } of files.sort((a, b) => b.usedMs - a.usedMs)) {
    if (keep.has(name)) continue;
    if (name.endsWith(unfinishedSuffix)) {
      if (now - usedMs > unfinishedMs) await remove(name);
      continue;
    }
    total += bytes;
    if (total > limitBytes && now - usedMs > spareMs) await remove(name);
  }
}

interface CachedFile {
  readonly name: string;
  readonly bytes: number;
  /** When it was used or written last, in ms since 1970. */
  readonly usedMs: number;
}

async function filesOf(folder: string): Promise<CachedFile[]> {
  const entries = await fs.readdir(folder, { withFileTypes: true }).catch(() => []);
  const files: CachedFile[] = [];
  for (const { name } of entries.filter((entry) => entry.isFile())) {
    // Another process may have deleted it meanwhile.
    const found = await fs.stat(path.join(folder, name)).catch(() => undefined);
    if (found)
      files.push({ name, bytes: found.size, usedMs: Math.max(found.atimeMs, found.mtimeMs) });
  }
  return files;
}
