import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { limitFolder, markUsed } from '../../engine/limit-folder.js';

let folder: string;
beforeEach(async () => void (folder = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'))));
afterEach(() => fs.rm(folder, { recursive: true }));

const hour = 60 * 60 * 1000;

/** Makes a file of 100 bytes that was used some hours ago. */
async function make(name: string, hoursAgo: number): Promise<void> {
  const file = path.join(folder, name);
  await fs.writeFile(file, new Uint8Array(100));
  const then = new Date(Date.now() - hoursAgo * hour);
  await fs.utimes(file, then, then);
}

const names = async () => (await fs.readdir(folder)).sort();

test('what was not used for longest is deleted first', async () => {
  await make('a', 5);
  await make('b', 3);
  await make('c', 9);
  await make('d', 7);
  await limitFolder(folder, 250);
  expect(await names()).toEqual(['a', 'b']);
});

test('use counts, not age; and the time of modification stays', async () => {
  await make('old', 50);
  await make('new', 2);
  const { mtimeMs } = await fs.stat(path.join(folder, 'old'));
  await markUsed(path.join(folder, 'old'));
  expect((await fs.stat(path.join(folder, 'old'))).mtimeMs).toBeCloseTo(mtimeMs, 0);
  await limitFolder(folder, 100);
  expect(await names()).toEqual(['old']);
});

test('files that are kept stay, and do not count', async () => {
  await make('kept', 90);
  await make('a', 5);
  await make('b', 6);
  await limitFolder(folder, 100, { keep: new Set(['kept']) });
  expect(await names()).toEqual(['a', 'kept']);
});

test('what another process may be about to read stays', async () => {
  await make('a', 0.5);
  await make('b', 0.1);
  await limitFolder(folder, 0);
  expect(await names()).toEqual(['a', 'b']);
});

test('folders within count too, and nothing is spared where nobody wants it', async () => {
  await fs.mkdir(path.join(folder, 'within'));
  await make(path.join('within', 'a'), 0.5);
  await make(path.join('within', 'b'), 0.2);
  await make('c', 0.1);
  await limitFolder(folder, 200, { spareMs: 0 });
  expect(await names()).toEqual(['c', 'within']);
  expect(await fs.readdir(path.join(folder, 'within'))).toEqual(['b']);
});

test('files that nobody finished go after a day', async () => {
  await make('a.part', 25);
  await make('b.part', 23);
  await limitFolder(folder, 0);
  expect(await names()).toEqual(['b.part']);
});

test('a folder that is not there has nothing to delete', async () => {
  await expect(limitFolder(path.join(folder, 'none'), 0)).resolves.toBeUndefined();
});
