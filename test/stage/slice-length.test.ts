import { expect, test } from 'vitest';
import { SliceLength } from '../../stage/slice-length.js';

test('the first long step shows what a layer costs, one by one', () => {
  expect(new SliceLength().layers(64, 28, 0)).toBe(1);
});

test('slices take about as long as short steps, while there are any', () => {
  const length = new SliceLength();
  // A layer of 64 rows takes 4 ms.
  length.addLong(128, 28, 8 * 28);
  length.addShort(10, 1000);
  expect(length.layers(64, 28, 1000)).toBe(2);
  expect(length.layers(32, 28, 1000)).toBe(4);
  expect(length.layers(512, 28, 1000)).toBe(1);
  for (let i = 0; i < 40; i++) length.addShort(40, 2000);
  expect(length.layers(64, 28, 2000)).toBe(8);
});

test('where no short steps come, they are short enough for one to come', () => {
  const length = new SliceLength();
  length.addLong(64, 28, 4 * 28);
  length.addShort(4, 0);
  expect(length.layers(64, 28, 100)).toBe(1);
  expect(length.layers(64, 28, 10_000)).toBe(8);
  length.addLong(64, 28, 2);
  expect(length.layers(64, 28, 10_000)).toBe(28);
});
