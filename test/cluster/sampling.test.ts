import { expect, test } from 'vitest';
import { engineNames, greedy, type EngineName } from '../../engine/engine.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { goldenCases } from '../support/golden.js';

const prompts = goldenCases('demo-q8_0.json').map(({ promptTokens }) => promptTokens);
const sampling = { ...greedy, temperature: 0.8, topP: 0.95, minP: 0.02, repetitionPenalty: 1.1 };

async function texts(
  engine: EngineName,
  layers: readonly number[],
  seed: number,
): Promise<number[][]> {
  await using cluster = await openTestCluster({ engine, layers });
  const conversation = cluster.coordinator.conversation();
  const results: number[][] = [];
  for (const prompt of prompts) {
    conversation.reset();
    results.push((await complete(conversation, prompt, 40, { ...sampling, seed })).tokens);
  }
  return results;
}

const title = '%s: the same seed gives the same text whatever the split, another seed another';
test.each(engineNames)(title, async (engine) => {
  const [whole, ...split] = await Promise.all([
    texts(engine, [16], 7),
    texts(engine, [13, 3], 7),
    texts(engine, [5, 6, 5], 7),
    texts(engine, [0, 8, 8], 7),
  ]);
  for (const other of split) expect(other).toEqual(whole);
  expect(await texts(engine, [16], 8)).not.toEqual(whole);
});
