import { describe, expect, test } from 'vitest';
import { CompletionRing } from '../../../transport/rdma/completion-ring.js';
import { SpinTime } from '../../../transport/rdma/spin-time.js';

describe('the ring', () => {
  test('carries completions in order, far beyond its size', async () => {
    const main = new CompletionRing();
    const thread = new CompletionRing(main.shared);
    let expected = 0;
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 300; i++)
        thread.write({ queue: 1, request: round * 300 + i, status: i % 3, bytes: 2 ** 31 - 1 });
      for (const { request, status, bytes } of await main.take()) {
        expect([request, status, bytes]).toEqual([expected, (expected % 300) % 3, 2 ** 31 - 1]);
        expected++;
      }
    }
    expect(expected).toBe(6000);
  });

  test('wakes who waits', async () => {
    const main = new CompletionRing();
    const thread = new CompletionRing(main.shared);
    const taken = main.take();
    thread.write({ queue: 7, request: 1, status: 0, bytes: 2 });
    thread.notify();
    expect(await taken).toEqual([{ queue: 7, request: 1, status: 0, bytes: 2 }]);
  });

  test('tells of commands and of sending once each', () => {
    const main = new CompletionRing();
    const thread = new CompletionRing(main.shared);
    main.command();
    main.sending();
    expect([thread.takeCommands(), thread.takeCommands()]).toEqual([true, false]);
    expect([thread.takeSending(), thread.takeSending()]).toEqual([true, false]);
    main.end(0);
    expect(thread.isEnding).toBe(true);
  });
});

describe('looking without a pause', () => {
  test('goes on for about as long as completions take to come', () => {
    const spinTime = new SpinTime();
    for (let ms = 0; ms < 100; ms += 0.1) spinTime.found(ms);
    expect([spinTime.goesOn(100.1), spinTime.goesOn(101)]).toEqual([true, false]);
  });

  test('is short where they come rarely', () => {
    const spinTime = new SpinTime();
    for (let ms = 0; ms < 5000; ms += 50) spinTime.found(ms);
    expect([spinTime.goesOn(4950.04), spinTime.goesOn(4950.2)]).toEqual([true, false]);
  });
});
