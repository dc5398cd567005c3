import { describe, expect, test } from 'vitest';
import { greedy } from '../../step/sampling.js';
import { TokenText } from '../../step/token-text.js';
import { CombinedDraft } from '../../speculative/combined-draft.js';
import type { DraftSource } from '../../speculative/draft-source.js';
import { NgramDraft } from '../../speculative/ngram-draft.js';
import { OracleDraft } from '../../speculative/oracle-draft.js';

async function drafts(source: DraftSource, text: readonly number[], count: number) {
  const tokens: number[] = [];
  for await (const token of source.draft(new TokenText(text), count, greedy)) tokens.push(token);
  return tokens;
}

describe('n-grams', () => {
  const ngram = new NgramDraft();

  test('propose what followed the same tokens before', async () => {
    expect(await drafts(ngram, [1, 2, 3, 4, 5, 9, 1, 2, 3], 3)).toEqual([4, 5, 9]);
  });

  test('prefer the longest match, and of equal ones the latest', async () => {
    expect(await drafts(ngram, [7, 1, 2, 50, 8, 1, 2, 60, 7, 1, 2], 1)).toEqual([50]);
    expect(await drafts(ngram, [1, 2, 50, 1, 2, 60, 1, 2], 1)).toEqual([60]);
  });

  test('go round in a text that repeats itself', async () => {
    expect(await drafts(ngram, [9, 4, 5, 4, 5], 6)).toEqual([4, 5, 4, 5, 4, 5]);
  });

  test('have nothing to say about what is new', async () => {
    expect(await drafts(ngram, [1, 2, 3, 4, 5], 4)).toEqual([]);
    expect(await drafts(ngram, [], 4)).toEqual([]);
    expect(await drafts(ngram, [5, 1, 5], 4)).toEqual([]);
  });
});

test('n-grams and a model: the model is asked where nothing long repeats itself', async () => {
  const asked: number[] = [];
  const model: DraftSource = {
    name: 'model',
    *draft(text, count) {
      asked.push(text.length);
      for (let i = 0; i < count; i++) yield 7;
    },
  };
  const combined = new CombinedDraft(model);
  expect(combined.name).toBe('n-gram + model');
  expect(await drafts(combined, [1, 2, 3, 1, 2], 2)).toEqual([7, 7]);
  expect(asked).toEqual([5]);
  expect(await drafts(combined, [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5], 2)).toEqual([6, 1]);
  expect(asked).toEqual([5]);
});

describe('an oracle', () => {
  const target = Array.from({ length: 5000 }, (_, i) => (i * 7919) % 1000);

  test('is right as often as it was told to be', async () => {
    for (const acceptance of [0, 0.6, 0.9, 1]) {
      const oracle = new OracleDraft(target, acceptance);
      const tokens = await drafts(oracle, target.slice(0, 100), 4900);
      const right = tokens.filter((token, i) => token === target[100 + i]).length / 4900;
      expect(Math.abs(right - acceptance)).toBeLessThan(0.02);
    }
  });

  test('knows no more than the recorded text', async () => {
    expect(await drafts(new OracleDraft([1, 2, 3, 4], 1), [1, 2], 8)).toEqual([3, 4]);
    expect(await drafts(new OracleDraft([], 1), [1, 2], 8)).toEqual([]);
  });
});
