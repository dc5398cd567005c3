import { expect, test } from 'vitest';
import { trialPrompt } from '../../bench/exactness-prompts.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { repositoryPath } from '../support/golden.js';

test('prompts of a trial are of all lengths, differ, and are the same every time', () => {
  using tokenizer = Tokenizer.load(repositoryPath('models/demo.gguf'));
  const prompts = Array.from({ length: 200 }, (_, i) => trialPrompt(i, 2000, tokenizer));
  const lengths = prompts.map(({ length }) => length);
  expect(Math.min(...lengths)).toBeGreaterThan(0);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(2000);
  for (const [least, most] of [
    [1, 16],
    [17, 100],
    [101, 500],
    [501, 1500],
    [1501, 2000],
  ] as const)
    expect(lengths.filter((length) => length >= least && length <= most).length).toBeGreaterThan(9);
  expect(new Set(prompts.map((prompt) => prompt.join())).size).toBeGreaterThan(150);
  expect([...trialPrompt(7, 2000, tokenizer)]).toEqual([...(prompts[7] ?? [])]);
});
