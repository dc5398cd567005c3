import { describe, expect, test } from 'vitest';
import { SpinTime } from '../../../transport/wire/spin-time.js';

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
