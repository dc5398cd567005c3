import { expect, test } from 'vitest';
import { WriteQueue } from '../../../stage/page-files/write-queue.js';

const settle = () => new Promise((resolve) => setImmediate(resolve));
const large = 100e6;

test('is written one after the other, as long as there is room to wait', async () => {
  const queue = new WriteQueue();
  const written: number[] = [];
  const ends: (() => void)[] = [];
  const add = (n: number) =>
    queue.add(large, async () => {
      await new Promise<void>((resolve) => ends.push(resolve));
      written.push(n);
    });
  for (const n of [1, 2]) {
    expect(queue.hasRoom(large)).toBe(true);
    add(n);
  }
  expect(queue.hasRoom(large)).toBe(false);
  expect(queue.hasRoom(1e6)).toBe(true);
  await settle();
  expect(ends).toHaveLength(1);
  ends[0]?.();
  await settle();
  expect(written).toEqual([1]);
  expect(queue.hasRoom(large)).toBe(true);
  await settle();
  ends[1]?.();
  await queue.written();
  expect(written).toEqual([1, 2]);
});

test('has room for anything when nothing waits', async () => {
  const queue = new WriteQueue();
  expect(queue.hasRoom(1e12)).toBe(true);
  queue.add(1e12, () => Promise.resolve());
  expect(queue.hasRoom(1)).toBe(false);
  await queue.written();
  expect(queue.hasRoom(1e12)).toBe(true);
});
