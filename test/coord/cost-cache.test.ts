import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CostCache } from '../../coord/cost-cache.js';

let folder: string;
beforeEach(async () => void (folder = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'))));
afterEach(() => fs.rm(folder, { recursive: true, force: true }));

const costs = [{ tokens: 1, ms: 5, msPerCell: 0.01 }];
const others = [{ tokens: 1, ms: 7, msPerCell: 0 }];

async function onlyFile(): Promise<string> {
  const [name = ''] = await fs.readdir(path.join(folder, 'costs'));
  return path.join(folder, 'costs', name);
}

test('what is kept is found by its key, also by another process, until it is forgotten', async () => {
  const cache = new CostCache(folder);
  expect(await cache.stage('a')).toBeUndefined();
  await cache.keep('a', costs);
  await cache.keep('b', others);
  expect(await new CostCache(folder).stage('a')).toEqual(costs);
  expect(await new CostCache(folder).stage('b')).toEqual(others);
  expect(await cache.stage('c')).toBeUndefined();
  await cache.forget('a');
  await cache.forget('a');
  expect(await cache.stage('a')).toBeUndefined();
});

test('what was kept for something else is not taken', async () => {
  const cache = new CostCache(folder);
  await cache.keep('a', costs);
  const file = await onlyFile();
  const text = await fs.readFile(file, 'utf8');
  await fs.writeFile(file, text.replace('"a"', '"b"'));
  expect(await cache.stage('a')).toBeUndefined();
});

test.each(['', '{', 'null', '{"key":"a"}', '{"key":"a","costs":[]}'])(
  'a damaged file is none: %s',
  async (content) => {
    const cache = new CostCache(folder);
    await cache.keep('a', costs);
    await fs.writeFile(await onlyFile(), content);
    expect(await cache.stage('a')).toBeUndefined();
    await cache.keep('a', costs);
    expect(await cache.stage('a')).toEqual(costs);
  },
);

test.each([
  { tokens: 0, ms: 1, msPerCell: 0 },
  { tokens: 1, ms: -1, msPerCell: 0 },
  { tokens: 1, ms: Infinity, msPerCell: 0 },
])('costs that make no sense are none: %o', async (point) => {
  const cache = new CostCache(folder);
  await cache.keep('a', [point]);
  expect(await cache.stage('a')).toBeUndefined();
});

test('a folder that cannot be written costs nothing', async () => {
  const file = path.join(folder, 'file');
  await fs.writeFile(file, '');
  const cache = new CostCache(file);
  await cache.keep('a', costs);
  expect(await cache.stage('a')).toBeUndefined();
});
