import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PageStore } from '../../../stage/page-files/page-store.js';
import { keptLog } from '../../worker/support/worker.js';
import { canMakeDisks, SmallDisk } from '../support/small-disk.js';

let cacheDirectory: string;
beforeEach(
  async () => void (cacheDirectory = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'))),
);
afterEach(() => fs.rm(cacheDirectory, { recursive: true }));

const hash = (text: string) => createHash('sha256').update(text).digest('hex');
const nameOf = (key: string, identity = 'a stage') => ({
  identity: hash(identity),
  key: hash(key),
});
const bytes = 3000;
const dataOf = (seed: number) => Uint8Array.from({ length: bytes }, (_, i) => i * seed);

function openStore(limitBytes = 1e6, folder = cacheDirectory) {
  const { logger, lines } = keptLog();
  return { store: new PageStore({ cacheDirectory: folder, limitBytes, logger }), lines };
}

function fileOf({ identity, key }: ReturnType<typeof nameOf>, folder = cacheDirectory): string {
  return path.join(folder, 'kv', identity, key);
}

async function keep(store: PageStore, key: string, seed: number): Promise<void> {
  await store.keep(nameOf(key), bytes, () => Promise.resolve(dataOf(seed)));
  await store.written();
}

async function filesIn(folder: string): Promise<string[]> {
  const names = await fs.readdir(path.join(folder, 'kv'), { recursive: true });
  return names.filter((name) => name.includes(path.sep)).map((name) => path.basename(name));
}

describe('a page', () => {
  test('is found again by another process, and read as it was', async () => {
    const { store, lines } = openStore();
    expect(await store.has(nameOf('a'), bytes)).toBe(false);
    await keep(store, 'a', 7);
    const other = openStore();
    expect(await other.store.has(nameOf('a'), bytes)).toBe(true);
    expect(await other.store.read(nameOf('a'), bytes)).toEqual(Buffer.from(dataOf(7)));
    expect(await other.store.has(nameOf('a', 'another stage'), bytes)).toBe(false);
    expect(await other.store.has(nameOf('a'), bytes + 1)).toBe(false);
    expect([...lines, ...other.lines]).toEqual([]);
    expect(await filesIn(cacheDirectory)).toEqual([hash('a')]);
  });

  test('is there while it waits to be written', async () => {
    const { store, lines } = openStore();
    const kept = Array.from({ length: 20 }, (_, i) =>
      store.keep(nameOf(`${i}`), bytes, () => Promise.resolve(dataOf(i))),
    );
    await Promise.all(kept);
    for (const i of kept.keys()) {
      expect(await store.has(nameOf(`${i}`), bytes)).toBe(true);
      expect(Buffer.from((await store.read(nameOf(`${i}`), bytes)) ?? [])).toEqual(
        Buffer.from(dataOf(i)),
      );
    }
    await store.written();
    expect(lines).toEqual([]);
  });

  test('that cannot be read from the stage is not kept', async () => {
    const { store } = openStore();
    const failed = store.keep(nameOf('b'), bytes, () => Promise.reject(new Error('no page')));
    await expect(failed).rejects.toThrow('no page');
    await keep(store, 'c', 7);
    expect(await filesIn(cacheDirectory)).toEqual([hash('c')]);
  });

  test('is not kept when too much waits for the disk already', async () => {
    const { store } = openStore(1e9);
    const huge = 200e6;
    await store.keep(nameOf('a'), huge, () => Promise.resolve(dataOf(1)));
    await store.keep(nameOf('b'), huge, () => Promise.reject(new Error('read all the same')));
    await store.written();
    expect(await filesIn(cacheDirectory)).toEqual([hash('a')]);
  });
});

describe('a file', () => {
  const flip = (at: number) => async (file: string) => {
    const content = await fs.readFile(file);
    content[at < 0 ? content.length + at : at]! ^= 0x10;
    await fs.writeFile(file, content);
  };
  const damages: readonly [string, (file: string) => Promise<void>][] = [
    ['is cut short', (file) => fs.truncate(file, bytes)],
    ['is empty', (file) => fs.truncate(file, 0)],
    ['is longer', (file) => fs.appendFile(file, 'x')],
    ['has another magic', flip(0)],
    ['is of another version', flip(8)],
    ['has another checksum', flip(13)],
    ['has another length', flip(20)],
    ['is of another stage', flip(30)],
    ['is of another text', flip(60)],
    ['has another checksum of its header', flip(90)],
    ['has a bit flipped at the beginning', flip(92)],
    ['has a bit flipped at the end', flip(-1)],
    ['was copied from another page', (file) => fs.copyFile(fileOf(nameOf('b')), file)],
    [
      'was copied from another stage',
      (file) => fs.copyFile(fileOf(nameOf('a', 'another stage')), file),
    ],
    ['is gone', (file) => fs.rm(file)],
    [
      'has become a folder',
      async (file) => {
        await fs.rm(file);
        await fs.mkdir(file);
      },
    ],
  ];

  test.each(damages)('that %s is no page, which is said once', async (_, damage) => {
    const { store, lines } = openStore();
    await keep(store, 'a', 7);
    await keep(store, 'b', 5);
    const other = nameOf('a', 'another stage');
    await store.keep(other, bytes, () => Promise.resolve(dataOf(3)));
    await store.written();
    await damage(fileOf(nameOf('a')));
    expect(await store.read(nameOf('a'), bytes)).toBeUndefined();
    expect(await store.read(nameOf('a'), bytes)).toBeUndefined();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/ is of no use, so its page is computed again: /);
    expect(await store.read(nameOf('b'), bytes)).toEqual(Buffer.from(dataOf(5)));
  });

  test('that was damaged is written again', async () => {
    const { store } = openStore();
    await keep(store, 'a', 7);
    await flip(100)(fileOf(nameOf('a')));
    expect(await store.read(nameOf('a'), bytes)).toBeUndefined();
    await keep(store, 'a', 7);
    expect(await store.read(nameOf('a'), bytes)).toEqual(Buffer.from(dataOf(7)));
  });
});

describe('the limit', () => {
  /** Room for so many pages, when a tenth is kept free. */
  const limitFor = (pages: number) => Math.ceil(((bytes + 92) * pages) / 0.9);

  async function usedAgo(key: string, minutes: number): Promise<void> {
    const then = new Date(Date.now() - 60_000 * minutes);
    await fs.utimes(fileOf(nameOf(key)), then, then);
  }

  test('has those go that were not used for longest, whoever wrote them', async () => {
    const first = openStore(limitFor(3));
    for (const key of ['a', 'b', 'c']) await keep(first.store, key, 1);
    for (const [i, key] of ['a', 'b', 'c'].entries()) await usedAgo(key, 30 - i);
    const second = openStore(limitFor(3));
    expect(await second.store.has(nameOf('a'), bytes)).toBe(true);
    await keep(second.store, 'd', 1);
    expect((await filesIn(cacheDirectory)).sort()).toEqual(['a', 'c', 'd'].map(hash).sort());
    expect(await first.store.has(nameOf('c'), bytes)).toBe(true);
    await usedAgo('d', 5);
    await usedAgo('a', 10);
    await keep(first.store, 'e', 1);
    expect((await filesIn(cacheDirectory)).sort()).toEqual(['c', 'd', 'e'].map(hash).sort());
    expect([...first.lines, ...second.lines]).toEqual([]);
  });

  test('of 0 keeps nothing, and finds nothing', async () => {
    await keep(openStore().store, 'a', 7);
    const { store, lines } = openStore(0);
    expect(await store.has(nameOf('a'), bytes)).toBe(false);
    expect(await store.read(nameOf('a'), bytes)).toBeUndefined();
    await keep(store, 'b', 7);
    expect(await filesIn(cacheDirectory)).toEqual([hash('a')]);
    expect(lines).toEqual([]);
  });

  test('that has no room for a page is told of once', async () => {
    const { store, lines } = openStore(100);
    await keep(store, 'a', 7);
    await keep(store, 'b', 7);
    expect(lines).toEqual([expect.stringContaining('a page of 3000 bytes is more than the limit')]);
  });
});

describe('a disk', () => {
  async function keepsNothing(folder: string, why: string, kept: readonly string[]): Promise<void> {
    const { store, lines } = openStore(1e9, folder);
    await Promise.all(Array.from({ length: 40 }, (_, i) => keep(store, `more ${i}`, 7)));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(`cannot keep texts in ${path.join(folder, 'kv')}: ${why}`);
    for (const key of kept)
      expect(await store.read(nameOf(key), bytes)).toEqual(Buffer.from(dataOf(7)));
    expect((await filesIn(folder)).filter((name) => name.endsWith('.part'))).toEqual([]);
  }

  test.skipIf(!canMakeDisks)('that is full keeps what it has, and is warned of once', async () => {
    using disk = new SmallDisk(80_000);
    await keep(openStore(1e9, disk.path).store, 'a', 7);
    await keepsNothing(disk.path, 'the disk is full', ['a']);
  });

  test.skipIf(!canMakeDisks)('that is read-only is read, and warned of once', async () => {
    using disk = new SmallDisk(200_000);
    await keep(openStore(1e9, disk.path).store, 'a', 7);
    disk.makeReadOnly();
    await keepsNothing(disk.path, 'the disk is read-only', ['a']);
  });

  test('where the folder cannot be made is warned of once', async () => {
    await fs.writeFile(path.join(cacheDirectory, 'kv'), 'a file');
    const { store, lines } = openStore();
    await keep(store, 'a', 7);
    await keep(store, 'b', 7);
    expect(lines).toHaveLength(1);
    expect(await store.has(nameOf('a'), bytes)).toBe(false);
  });
});
