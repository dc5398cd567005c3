import { describe, expect, test } from 'vitest';
import { EventSignals } from '../../../transport/rdma/event-signals.js';
import { SpinTime } from '../../../transport/rdma/spin-time.js';

describe('signals between threads', () => {
  test('wake who waits for events', async () => {
    const main = new EventSignals();
    const thread = new EventSignals(main.shared);
    const more = main.moreEvents(0);
    thread.event();
    expect(await more).toBe(1);
    thread.event();
    expect(await main.moreEvents(1)).toBe(2);
  });

  test('tell of commands once, and of the end', () => {
    const main = new EventSignals();
    const thread = new EventSignals(main.shared);
    main.command();
    expect([thread.takeCommands(), thread.takeCommands()]).toEqual([true, false]);
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
