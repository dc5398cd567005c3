import { createHash } from 'node:crypto';
import { readdir, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import { TensorCache, type HashedTensor } from '../../worker/tensor-cache.js';
import { keptLog, temporaryFolder } from './support/worker.js';

const hour = 60 * 60 * 1000;
const { signal } = new AbortController();

function tensor(name: string, bytes = 100): HashedTensor & { readonly data: Uint8Array } {
  const data = new Uint8Array(bytes).fill(name.charCodeAt(0));
  const sha256 = createHash('sha256').update(data).digest('hex');
  return { name, type: tensorTypeNamed('i8'), shape: [bytes], bytes, sha256, data };
}

const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => tensor(name)) as [
  Tensor,
  Tensor,
  Tensor,
  Tensor,
];
type Tensor = ReturnType<typeof tensor>;

async function openCache(limitBytes?: number) {
  const folder = await temporaryFolder();
  const { logger, lines } = keptLog();
  const open = () => new TensorCache({ cacheDirectory: folder.path, limitBytes, logger });
  const cache = open();
  const keep = async (tensor: Tensor, usedMsAgo = 0) => {
    await cache.makeRoom(0, new Set());
    const writer = await cache.store(tensor);
    expect(await writer.append(0, tensor.data.subarray(0, 40))).toBe(false);
    expect(await writer.append(40, tensor.data.subarray(40))).toBe(true);
    await setUsed(cache.path(tensor.sha256), usedMsAgo);
  };
  const names = async () => {
    const files = await readdir(path.join(folder.path, 'tensors'));
    return files
      .map((file) => [a, b, c, d].find(({ sha256 }) => sha256 === file)?.name ?? file)
      .sort();
  };
  return {
    cache,
    open,
    keep,
    names,
    lines,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

async function setUsed(file: string, msAgo: number): Promise<void> {
  const { mtime } = await stat(file);
  await utimes(file, new Date(Date.now() - msAgo), mtime);
}

async function missing(cache: TensorCache, ...tensors: Tensor[]): Promise<string[]> {
  return (await cache.missing(tensors, signal)).map(({ name }) => name);
}

describe('the cache', () => {
  test('has what was stored, and nothing else', async () => {
    await using opened = await openCache();
    const { cache, keep } = opened;
    expect(await missing(cache, a, b)).toEqual(['a', 'b']);
    await keep(a);
    expect(await missing(cache, a, b)).toEqual(['b']);
  });

  test('notices damage by the data, once per start and change of the file', async () => {
    await using opened = await openCache();
    const { cache, open, keep, lines } = opened;
    await keep(a);
    const file = cache.path(a.sha256);
    expect(await missing(cache, a)).toEqual([]);
    const { atime, mtime } = await stat(file);
    await writeFile(file, new Uint8Array(100));
    await utimes(file, atime, mtime);
    expect(await missing(open(), a)).toEqual(['a']);
    expect(lines).toEqual(['tensor a is damaged in the cache: it is deleted, and asked for again']);
    await keep(a);
    expect(await missing(cache, a)).toEqual([]);
    await writeFile(file, new Uint8Array(100));
    await utimes(file, atime, new Date(mtime.getTime() + hour));
    expect(await missing(cache, a)).toEqual(['a']);
  });

  test('deletes nothing because of what somebody says of its size', async () => {
    await using opened = await openCache();
    const { cache, keep } = opened;
    await keep(a);
    await expect(cache.missing([{ ...a, bytes: 99 }], signal)).rejects.toMatchObject({
      code: 'message',
      message: 'tensor a has 100 bytes, not 99',
    });
    expect(await missing(cache, a)).toEqual([]);
  });

  test('takes nothing that is damaged, and leaves nothing of it', async () => {
    await using opened = await openCache();
    const { cache, names } = opened;
    await cache.makeRoom(0, new Set());
    const writer = await cache.store(a);
    const damaged = expect(writer.append(0, b.data)).rejects;
    await damaged.toMatchObject({ name: 'WorkerError', code: 'damaged' });
    await writer.discard();
    const gap = await cache.store(a);
    await expect(gap.append(1, a.data)).rejects.toMatchObject({ code: 'message' });
    await gap.discard();
    const long = await cache.store(a);
    await expect(long.append(0, new Uint8Array(101))).rejects.toMatchObject({ code: 'message' });
    await long.discard();
    expect(await names()).toEqual([]);
  });

  test('deletes what was not used for longest when there is too much', async () => {
    await using opened = await openCache(300);
    const { cache, keep, names } = opened;
    await keep(a, 3 * hour);
    await keep(b, 5 * hour);
    await keep(c, 4 * hour);
    await cache.makeRoom(0, new Set());
    expect(await names()).toEqual(['a', 'b', 'c']);
    // To be asked for is to be used.
    expect(await missing(cache, b)).toEqual([]);
    await cache.makeRoom(50, new Set());
    expect(await names()).toEqual(['a', 'b']);
    await setUsed(cache.path(b.sha256), 6 * hour);
    await cache.makeRoom(150, new Set([b.sha256]));
    expect(await names()).toEqual(['b']);
  });

  test('keeps what others may be loading, and what is needed, however large', async () => {
    await using opened = await openCache(10);
    const { cache, keep, names } = opened;
    await keep(a, hour / 2);
    await keep(b, 2 * hour);
    await cache.makeRoom(1000, new Set([b.sha256]));
    expect(await names()).toEqual(['a', 'b']);
  });

  test('refuses more than the disk has, after deleting what it can', async () => {
    await using opened = await openCache();
    const { cache, keep, names } = opened;
    await keep(a, 2 * hour);
    await expect(cache.makeRoom(1e18, new Set())).rejects.toMatchObject({
      code: 'disk',
      message: expect.stringMatching(
        /^the disk of .* MB free, the shard needs 10{12} MB: /,
      ) as string,
    });
    expect(await names()).toEqual([]);
  });

  test('deletes what transfers have left behind, but not those that go on', async () => {
    await using opened = await openCache();
    const { cache, keep, names } = opened;
    await keep(a, 9 * hour);
    for (const [name, msAgo] of [
      ['old', 2 * hour],
      ['new', 0],
    ] as const) {
      const file = cache.path(`${b.sha256}.${name}.part`);
      await writeFile(file, new Uint8Array(10));
      await utimes(file, new Date(), new Date(Date.now() - msAgo));
    }
    await cache.removeLeftovers();
    expect(await names()).toEqual(['a', `${b.sha256}.new.part`].sort());
  });

  test('cannot be where no folder can be', async () => {
    await using opened = await openCache();
    const { cache, keep } = opened;
    await keep(a);
    const inFile = new TensorCache({
      cacheDirectory: cache.path(a.sha256),
      logger: keptLog().logger,
    });
    await inFile.removeLeftovers();
    await expect(inFile.makeRoom(0, new Set())).rejects.toMatchObject({ code: 'disk' });
  });

  test('gives up looking through files when it is told to', async () => {
    await using opened = await openCache();
    const { cache, keep } = opened;
    await keep(d);
    const stop = AbortSignal.abort(new Error('no need'));
    await expect(cache.missing([d], stop)).rejects.toThrow('no need');
    expect(await missing(cache, d)).toEqual([]);
  });
});
