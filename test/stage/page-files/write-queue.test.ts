import { expect, test } from 'vitest';
import { WriteQueue } from '../../../stage/page-files/write-queue.js';

const settle = () => new Promise((resolve) => setImmediate(resolve));
const large = 60e6;

test('what waits is made only when there is room for it, and written one after the other', async () => {
  const queue = new WriteQueue();
  const made: number[] = [];
  const written: number[] = [];
  const ends: (() => void)[] = [];
  const added = [1, 2, 3, 4].map((n) =>
    queue.add(
      large,
      () => Promise.resolve(made.push(n) && n),
      async (data) => {
        await new Promise<void>((resolve) => ends.push(resolve));
        written.push(data);
      },
    ),
  );
  await Promise.all(added.slice(0, 2));
  await settle();
  expect(made).toEqual([1, 2]);
  expect(ends).toHaveLength(1);
  for (const done of [1, 2, 3, 4]) {
    ends[done - 1]?.();
    await settle();
    expect(written).toHaveLength(done);
    expect(made).toHaveLength(Math.min(4, done + 2));
  }
  await Promise.all(added);
  await queue.written();
  expect(written).toEqual([1, 2, 3, 4]);
});

test('what is larger than all room has it alone, and what fails gives its room back', async () => {
  const queue = new WriteQueue();
  const failed = queue.add(
    1e9,
    () => Promise.reject(new Error('no')),
    () => Promise.resolve(),
  );
  const written: string[] = [];
  const write = (data: string) => Promise.resolve(void written.push(data));
  const next = queue.add(1e9, () => Promise.resolve('next'), write);
  await expect(failed).rejects.toThrow('no');
  await next;
  await queue.add(1e9, () => Promise.resolve(undefined), write);
  await queue.add(1e9, () => Promise.resolve('last'), write);
  await queue.written();
  expect(written).toEqual(['next', 'last']);
});
