import { expect, test } from 'vitest';
import { EventLoopShare } from '../../engine/event-loop-share.js';

test('what is short is computed at once', () => {
  const loop = new EventLoopShare();
  expect([0.1, 1.9, 50, Infinity].map((ms) => loop.isInstant(ms))).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test('everything else has its turn however many short computations follow each other', async () => {
  const loop = new EventLoopShare();
  let isDone = false;
  let turns = 0;
  const others = (async () => {
    for (; !isDone; turns++) await new Promise((resolve) => setImmediate(resolve));
  })();
  let waits = 0;
  for (let i = 0; i < 100; i++) {
    const wait = loop.enter();
    if (wait) waits++;
    await wait;
    loop.used(1);
  }
  isDone = true;
  await others;
  expect(waits).toBeGreaterThanOrEqual(20);
  expect(waits).toBeLessThan(50);
  expect(turns).toBeGreaterThanOrEqual(20);
});
