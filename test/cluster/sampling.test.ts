import { expect, test } from 'vitest';
import { greedy } from '../../step/sampling.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { computings, type Computing } from '../support/engines.js';
import { goldenCases } from '../support/golden.js';

const prompts = goldenCases('demo-q8_0.json').map(({ promptTokens }) => promptTokens);
const sampling = { ...greedy, temperature: 0.8, topP: 0.95, minP: 0.02, repetitionPenalty: 1.1 };

async function texts(
  computing: Computing,
  layers: readonly number[],
  seed: number,
): Promise<number[][]> {
  await using cluster = await openTestCluster({ ...computing, layers });
  const conversation = cluster.coordinator.conversation();
  const results: number[][] = [];
  for (const prompt of prompts) {
    conversation.reset();
    results.push((await complete(conversation, prompt, 40, { ...sampling, seed })).tokens);
  }
  return results;
}

const title =
  '$engine, KV $kvType: the same seed gives the same text whatever the split, another seed another';
test.each(computings)(title, async (computing) => {
  const [whole, ...split] = await Promise.all([
    texts(computing, [16], 7),
    texts(computing, [13, 3], 7),
    texts(computing, [5, 6, 5], 7),
    texts(computing, [0, 8, 8], 7),
  ]);
  for (const other of split) expect(other).toEqual(whole);
  expect(await texts(computing, [16], 8)).not.toEqual(whole);
});
