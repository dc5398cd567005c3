import { describe, expect, test } from 'vitest';
import type { Coordinator } from '../../coord/coordinator.js';
import { greedy } from '../../step/sampling.js';
import { complete, openTestCluster, type TestClusterOptions } from '../support/cluster.js';
import { Random } from '../support/random.js';

const vocabulary = 1000;

function words(random: Random, count: number): number[] {
  return Array.from({ length: count }, () => random.between(3, vocabulary - 1));
}

/** What a text is answered with that finds nothing of others. */
async function alone(
  coordinator: Coordinator,
  prompt: readonly number[],
  maxTokens: number,
): Promise<number[]> {
  const conversation = coordinator.conversation();
  const tokens: number[] = [];
  const options = { sampling: greedy, maxTokens, isEnd: () => false, reuse: false };
  for await (const token of conversation.generate(Int32Array.from(prompt), options))
    tokens.push(token);
  conversation.close();
  return tokens;
}

test('a beginning that eight conversations have in common is computed once', async () => {
  const random = new Random(1);
  const beginning = words(random, 1000);
  await using cluster = await openTestCluster({
    layers: [8, 8],
    context: 1536,
    conversations: 8,
  });
  const { coordinator } = cluster;
  const prompts = Array.from({ length: 8 }, () => [...beginning, ...words(random, 70)]);
  const conversations = prompts.map(() => coordinator.conversation());
  await coordinator.stats({ reset: true });
  const answers: number[][] = [];
  for (const [i, prompt] of prompts.entries())
    answers.push((await complete(conversations[i]!, prompt, 3)).tokens);
  // Others begin behind the last tile that they have in common.
  expect(coordinator.cells).toMatchObject({ hits: 7, reusedTokens: 7 * 960 });
  expect(coordinator.batching.steps.text.rows).toBe(1070 + 7 * (1070 - 960));

  // Goes on with the three of them in turns.
  await coordinator.stats({ reset: true });
  const texts = [0, 1, 2].map((i) => [...prompts[i]!, ...answers[i]!]);
  for (let turn = 0; turn < 4; turn++)
    for (const [i, text] of texts.entries()) {
      text.push(...words(random, 20));
      text.push(...(await complete(conversations[i]!, text, 3)).tokens);
    }
  // What is new, and the last token of the answer before.
  expect(coordinator.batching.steps.text.rows).toBe(12 * 21);
});

describe.each<Pick<TestClusterOptions, 'engine' | 'layers'>>([
  { engine: 'ggml', layers: [16] },
  { engine: 'ggml', layers: [7, 9] },
  { engine: 'onnx', layers: [8, 8] },
])('with $engine over $layers', (options) => {
  test('texts that begin with what others have are those that they would be alone', async () => {
    const random = new Random(2);
    await using cluster = await openTestCluster({ ...options, context: 512, conversations: 6 });
    const { coordinator } = cluster;
    const beginnings = [words(random, 330), words(random, 200), words(random, 65)];
    for (let i = 0; i < 25; i++) {
      const beginning = beginnings[random.between(0, 2)]!;
      const kept = beginning.slice(0, random.share() < 0.5 ? undefined : random.between(1, 330));
      const prompt = [...kept, ...words(random, random.between(0, 100))];
      const conversation = coordinator.conversation();
      const { tokens } = await complete(conversation, prompt, 4);
      conversation.close();
      expect(tokens).toEqual(await alone(coordinator, prompt, 4));
    }
    expect(coordinator.cells.reusedTokens).toBeGreaterThan(1500);
  });

  test('texts that have to make room for others are those of one where none has to', async () => {
    const random = new Random(3);
    const asked = Array.from({ length: 6 }, () => ({
      prompt: words(random, random.between(20, 300)),
      count: random.between(150, 230),
    }));
    await using cluster = await openTestCluster({ ...options, context: 1024, conversations: 1 });
    const { coordinator } = cluster;
    const expected: number[][] = [];
    for (const { prompt, count } of asked) expected.push(await alone(coordinator, prompt, count));
    const answers = await Promise.all(
      asked.map(async ({ prompt, count }) => {
        const conversation = coordinator.conversation();
        const { tokens } = await complete(conversation, prompt, count);
        conversation.close();
        return tokens;
      }),
    );
    expect(answers).toEqual(expected);
    expect(coordinator.cells).toMatchObject({ cells: 1024, reserved: 0 });
    expect(coordinator.cells.preemptions).toBeGreaterThan(0);
  });
});
