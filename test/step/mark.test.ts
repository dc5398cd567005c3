import { expect, test } from 'vitest';
import { TokenText } from '../../step/token-text.js';

test('a mark goes back with its text, and to the beginning where it cannot go so far', () => {
  const text = new TokenText(new Int32Array(100));
  const [all, few] = [text.mark(), text.mark(10)];
  all.at = few.at = 100;
  text.truncate(95);
  expect([all.at, few.at]).toEqual([95, 95]);
  // What counts is how far it ever was.
  text.truncate(89);
  expect([all.at, few.at]).toEqual([89, 0]);
  few.at = 20;
  text.truncate(10);
  expect([all.at, few.at]).toEqual([10, 10]);
});
