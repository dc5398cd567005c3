import { describe, expect, test } from 'vitest';
import type { Conversation } from '../../coord/conversation.js';
import { engineNames } from '../../engine/engine.js';
import { greedy } from '../../step/sampling.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { clearTokens, goldenCases } from '../support/golden.js';

const cases = goldenCases('demo-q8_0.json');
const [first, second] = cases;
if (!first || !second) throw new Error('golden cases are missing');

describe.each(engineNames)('a conversation with %s', (engine) => {
  test('computes only what is new, and gives the same tokens', async () => {
    await using cluster = await openTestCluster({ engine, layers: [13, 3] });
    const conversation = cluster.coordinator.conversation();
    const answer = await complete(conversation, first.promptTokens, 20);
    expect(answer.summary.reusedTokens).toBe(0);

    const next = [...first.promptTokens, ...answer.tokens, ...second.promptTokens];
    const continued = await complete(conversation, next, 20);
    // The last token of an answer has not been computed yet when the answer ends.
    expect(continued.summary.reusedTokens).toBe(first.promptTokens.length + 19);

    conversation.reset();
    const again = await complete(conversation, next, 20);
    expect(again.summary.reusedTokens).toBeGreaterThanOrEqual(first.promptTokens.length + 19);
    expect(again.tokens).toEqual(continued.tokens);
    const alone = conversation.generate(Int32Array.from(next), {
      sampling: greedy,
      maxTokens: 20,
      isEnd: () => false,
      reuse: false,
    });
    conversation.reset();
    const tokens: number[] = [];
    let result = await alone.next();
    for (; !result.done; result = await alone.next()) tokens.push(result.value);
    expect(result.value.reusedTokens).toBe(0);
    expect(tokens).toEqual(continued.tokens);
  });

  test('in chunks of any size gives the same tokens', async () => {
    const expected = clearTokens(second);
    for (const chunkTokens of [7, 16, 64]) {
      await using cluster = await openTestCluster({ engine, layers: [5, 6, 5], chunkTokens });
      const conversation = cluster.coordinator.conversation();
      const { tokens } = await complete(conversation, second.promptTokens, expected.length);
      expect(tokens).toEqual(expected);
    }
  });

  test('is separate from another one', async () => {
    await using cluster = await openTestCluster({ engine, layers: [13, 3], conversations: 2 });
    const conversations = [cluster.coordinator.conversation(), cluster.coordinator.conversation()];
    const answers = await Promise.all(
      [first, second].map((golden, i) =>
        complete(conversations[i] as Conversation, golden.promptTokens, clearTokens(golden).length),
      ),
    );
    expect(answers.map(({ tokens }) => tokens)).toEqual([clearTokens(first), clearTokens(second)]);
    conversations[0]?.close();
    expect(cluster.coordinator.conversation().computedTokens).toBe(0);
  });

  test('ends at the context, and refuses a text that does not fit', async () => {
    await using cluster = await openTestCluster({ engine, layers: [13, 3], context: 64 });
    const conversation = cluster.coordinator.conversation();
    const { tokens, summary } = await complete(conversation, first.promptTokens, 400);
    expect(summary.finishReason).toBe('context');
    expect(tokens.length + first.promptTokens.length).toBe(65);
    const tooLong = Array.from({ length: 65 }, () => 5);
    await expect(complete(conversation, tooLong, 1)).rejects.toThrow(
      /the text has 65 tokens, the context holds 64: .*--context/,
    );
    conversation.reset();
    expect((await complete(conversation, first.promptTokens, 3)).tokens).toEqual(
      first.tokens.slice(0, 3),
    );
  });

  test('can be stopped while it answers and while it reads, and goes on afterwards', async () => {
    await using cluster = await openTestCluster({ engine, layers: [13, 3], chunkTokens: 16 });
    const conversation = cluster.coordinator.conversation();
    const stopped = await complete(
      conversation,
      first.promptTokens,
      400,
      undefined,
      AbortSignal.abort(),
    );
    expect(stopped.summary.finishReason).toBe('cancelled');
    expect(stopped.tokens).toEqual([]);

    const controller = new AbortController();
    const generation = conversation.generate(Int32Array.from(first.promptTokens), {
      sampling: greedy,
      maxTokens: 400,
      isEnd: () => false,
      signal: controller.signal,
    });
    await generation.next();
    const pending = generation.next();
    controller.abort();
    expect((await pending).done || (await generation.next()).done).toBe(true);

    const expected = clearTokens(first);
    const { tokens } = await complete(conversation, first.promptTokens, expected.length);
    expect(tokens).toEqual(expected);
  });
});
