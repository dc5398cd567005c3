import fs from 'node:fs/promises';
import path from 'node:path';

/** Another process may be about to read what was used this recently. */
const inUseMs = 60 * 60 * 1000;

/** A file that nobody has finished for this long is not going to be. */
const unfinishedMs = 24 * 60 * 60 * 1000;

/** How the names of files end that are still being written. */
export const unfinishedSuffix = '.part';

/** Marks a file as used now, for `limitFolder`; its time of modification stays. */
export async function markUsed(file: string): Promise<void> {
  const { mtime } = await fs.stat(file);
  await fs.utimes(file, new Date(), mtime);
}

export interface FolderLimit {
  /** Names of files that stay whatever they take. */
  readonly keep?: ReadonlySet<string>;
  /** What was used within this time stays; default: an hour, in ms. */
  readonly spareMs?: number;
}

/**
 * Deletes files of a cache, and of folders in it, that were not used for longest, until the others take no more than a
 * limit, and files that were never finished. Whatever cannot be deleted, because somebody has it open, stays.
 * @param limitBytes of files that are not kept
 */
export async function limitFolder(
  folder: string,
  limitBytes: number,
  { keep = new Set(), spareMs = inUseMs }: FolderLimit = {},
): Promise<void> {
  const files = await filesOf(folder);
  const now = Date.now();
  const remove = (file: string) => fs.rm(file).catch(() => undefined);
  let total = 0;
  for (const { file, bytes, usedMs } of files.sort((a, b) => b.usedMs - a.usedMs)) {
    if (keep.has(path.basename(file))) continue;
    if (file.endsWith(unfinishedSuffix)) {
      if (now - usedMs > unfinishedMs) await remove(file);
      continue;
    }
    total += bytes;
    if (total > limitBytes && now - usedMs >= spareMs) await remove(file);
  }
}

interface CachedFile {
  readonly file: string;
  readonly bytes: number;
  /** When it was used or written last, in ms since 1970. */
  readonly usedMs: number;
}

async function filesOf(folder: string): Promise<CachedFile[]> {
  const options = { withFileTypes: true, recursive: true } as const;
  const entries = await fs.readdir(folder, options).catch(() => []);
  const files: CachedFile[] = [];
  for (const { name, parentPath } of entries.filter((entry) => entry.isFile())) {
    const file = path.join(parentPath, name);
    // Another process may have deleted it meanwhile.
    const found = await fs.stat(file).catch(() => undefined);
    if (found)
      files.push({ file, bytes: found.size, usedMs: Math.max(found.atimeMs, found.mtimeMs) });
  }
  return files;
}
