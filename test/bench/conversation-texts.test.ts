import { expect, test } from 'vitest';
import { conversationTexts } from '../../bench/conversation-texts.js';
import { randomTokens } from '../../model/random-tokens.js';

const sizes = { conversations: 5, tokens: 60, shared: 0, vocabulary: 10_000 };

/** Leading tokens that two texts have in common. */
function common(a: Int32Array, b: Int32Array): number {
  const end = a.findIndex((token, i) => token !== b[i]);
  return end < 0 ? a.length : end;
}

test.each([0, 1, 40, 60])('texts have their first %d tokens in common, and no more', (shared) => {
  const texts = conversationTexts({ ...sizes, shared });
  expect(texts.map(({ length }) => length)).toEqual([60, 60, 60, 60, 60]);
  for (const [i, text] of texts.entries())
    for (const other of texts.slice(0, i)) expect(common(text, other)).toBe(shared);
});

test('rounds have nothing in common, and are the same every time', () => {
  const of = { ...sizes, shared: 20 };
  const rounds = [0, 1, 2].map((round) => conversationTexts(of, round));
  const [a, b, c] = rounds.map(([text]) => text as Int32Array);
  expect([common(a!, b!), common(b!, c!), common(a!, c!)]).toEqual([0, 0, 0]);
  expect(conversationTexts(of, 2)).toEqual(rounds[2]);
});

test('the first is what one conversation alone reads', () => {
  const alone = randomTokens(60, sizes.vocabulary);
  expect(conversationTexts(sizes)[0]).toEqual(alone);
  expect(conversationTexts({ ...sizes, shared: 33 })[0]).toEqual(alone);
});
