import { describe, expect, test } from 'vitest';
import { commonPrefix, TokenText } from '../../step/token-text.js';
import { Random } from '../support/random.js';

describe('a text', () => {
  test('takes guesses, and drops what follows a wrong one', () => {
    const text = new TokenText([1, 2]);
    text.guess(3);
    text.guess(4);
    text.guess(5);
    expect([text.length, text.certain]).toEqual([5, 2]);
    expect(text.confirm(3)).toBe('right');
    expect(text.confirm(9)).toBe('wrong');
    expect([...text.tokens]).toEqual([1, 2, 3, 9]);
    expect(text.certain).toBe(4);
    expect(text.confirm(7)).toBe('no guess');
    expect(text.at(4)).toBe(7);
    expect(text.at(5)).toBeUndefined();
  });

  test('pulls marks back with what it loses, and only with that', () => {
    const text = new TokenText([1, 2, 3]);
    const [all, some] = [text.mark(), text.mark()];
    all.at = 3;
    some.at = 1;
    text.guess(4);
    all.at = 4;
    text.confirm(5);
    expect([all.at, some.at]).toEqual([3, 1]);
    text.replace(Int32Array.of(1, 2, 8, 9));
    expect([all.at, some.at]).toEqual([2, 1]);
    text.truncate(0);
    expect([all.at, some.at, text.length]).toEqual([0, 0, 0]);
  });

  test('of 130,000 tokens becomes another one without losing what they share', () => {
    const tokens = Int32Array.from({ length: 130_000 }, (_, i) => i % 977);
    const text = new TokenText();
    const mark = text.mark();
    text.replace(tokens);
    mark.at = text.length;
    text.replace(Int32Array.from([...tokens, 5, 6]));
    expect([mark.at, text.length]).toEqual([130_000, 130_002]);
    text.replace(tokens.with(70_000, -1));
    expect([mark.at, text.length, text.at(70_000)]).toEqual([70_000, 130_000, -1]);
  });

  test('over random changes equals a list, and no mark stands on what was changed', () => {
    const random = new Random(7);
    for (let round = 0; round < 200; round++) {
      const text = new TokenText();
      const mark = text.mark();
      let list: number[] = [];
      let certain = 0;
      let marked: number[] = [];
      for (let change = 0; change < 60; change++) {
        const token = random.between(0, 3);
        switch (random.between(0, 4)) {
          case 0:
            text.guess(token);
            list.push(token);
            break;
          case 1:
            text.confirm(token);
            if (list[certain] !== token) list = [...list.slice(0, certain), token];
            certain++;
            break;
          case 2:
            certain = random.between(0, certain);
            text.truncate(certain);
            list = list.slice(0, certain);
            break;
          case 3:
            list = Array.from({ length: random.between(0, 12) }, () => random.between(0, 3));
            certain = list.length;
            text.replace(Int32Array.from(list));
            break;
          default:
            mark.at = random.between(mark.at, text.length);
            marked = [...text.tokens.subarray(0, mark.at)];
        }
        expect([...text.tokens]).toEqual(list);
        expect(text.certain).toBe(certain);
        expect(list.slice(0, mark.at)).toEqual(marked.slice(0, mark.at));
      }
    }
  });
});

test('the common prefix of two texts', () => {
  expect(commonPrefix(Int32Array.of(1, 2, 3), Int32Array.of(1, 2, 4, 5))).toBe(2);
  expect(commonPrefix(Int32Array.of(), Int32Array.of(1))).toBe(0);
  expect(commonPrefix(Int32Array.of(1, 2), Int32Array.of(1, 2))).toBe(2);
});
