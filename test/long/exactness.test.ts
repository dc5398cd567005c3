import { expect, test } from 'vitest';
import { describeDifference, tryExactness } from '../../bench/exactness.js';
import { engineNames } from '../../engine/engine.js';
import { repositoryPath } from '../support/golden.js';
import { silent } from '../support/silent.js';

/** The whole trial is `node dist/bench/try-exactness.js --prompts 200`. */
test.each(engineNames)('texts of %s depend on no form of computing them', async (engine) => {
  const trial = {
    model: repositoryPath('models/demo.gguf'),
    draft: repositoryPath('models/demo-draft.gguf'),
    engines: [engine],
    splits: [[16], [13, 3], [4, 4, 4, 4]],
    chunks: [512, 64],
    drafts: [false, true],
    loads: [false, true],
    kvType: 'f16' as const,
    from: 0,
    prompts: 6,
    mostTokens: 2000,
    tokens: 32,
  };
  const { texts, differences } = await tryExactness(trial, silent, () => undefined);
  expect(texts).toBe(6 * (3 * 2 * 2 * 2 - 1));
  expect(differences.map(describeDifference)).toEqual([]);
});
