import { describe, expect, test } from 'vitest';
import { passingSecret } from '../../app/cluster-secret.js';
import { SpawnedWorkers } from '../../app/spawn.js';
import { engineNames } from '../../engine/engine.js';
import { greedy, type Sampling } from '../../step/sampling.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { openDraftModel, speculateWith } from '../support/drafts.js';
import { goldenCases, repositoryPath } from '../support/golden.js';

const [golden] = goldenCases('demo-q8_0.json');
if (!golden) throw new Error('no golden case');
const { promptTokens } = golden;
const length = 120;
const seeded: Sampling = { ...greedy, temperature: 0.8, topK: 40, seed: 11 };

/** A worker that nobody uses yet. */
async function startSpare(secretText: string, engine: 'ggml' | 'onnx', holdsModel: boolean) {
  const model = holdsModel ? { model: repositoryPath('models/demo.gguf') } : {};
  const settings = { threads: 1, logLevel: 'error' as const, engine, ...model };
  const spare = await SpawnedWorkers.start(1, settings, [], secretText);
  const [address] = spare.addresses;
  if (!address) throw new Error('no spare worker');
  return { address, [Symbol.asyncDispose]: () => spare.end() };
}

describe.each(engineNames)('with %s', (engine) => {
  test.each([
    ['greedy', greedy],
    ['seeded', seeded],
  ])(
    'a stage moved in the middle of an answer leaves the text as it is, %s',
    async (_, sampling) => {
      const shared = passingSecret();
      await using spare = await startSpare(shared.text, engine, true);
      const codec = 'auto';
      await using cluster = await openTestCluster({ engine, layers: [6, 5, 5], shared, codec });
      const { coordinator } = cluster;
      const conversation = coordinator.conversation();
      const undisturbed = await complete(conversation, promptTokens, length, sampling);
      conversation.reset();

      const tokens: number[] = [];
      const options = { sampling, maxTokens: length, isEnd: () => false };
      let moved: Promise<void> | undefined;
      for await (const token of conversation.generate(Int32Array.from(promptTokens), options)) {
        tokens.push(token);
        if (tokens.length === 20) moved = coordinator.moveStage(1, spare.address);
        if (tokens.length === 60) await moved;
      }
      expect(tokens).toEqual(undisturbed.tokens);
      expect(coordinator.plan.stages[1]?.name).toBe(`127.0.0.1:${spare.address.port}`);
      expect(coordinator.plan.stages.map(({ layers }) => layers)).toEqual([6, 5, 5]);
      const names = coordinator.plan.stages.map(({ name }) => name);
      expect(coordinator.links.map(({ from, to, codec }) => [from, to, codec])).toEqual([
        [names[0], names[1], 'f32'],
        [names[1], names[2], 'f32'],
      ]);
      // The worker that was left is free for others.
      const again = await complete(conversation, promptTokens, length, sampling);
      expect(again.tokens).toEqual(undisturbed.tokens);
    },
  );
});

test.each([
  ['without drafts', false],
  ['with drafts', true],
])('the stage of a worker that was killed goes on on another one, %s', async (_, withDrafts) => {
  const shared = passingSecret();
  await using spare = await startSpare(shared.text, 'ggml', false);
  const drafts = withDrafts ? await openDraftModel() : undefined;
  await using cluster = await openTestCluster({
    layers: [6, 5, 5],
    shared,
    onLostWorker: 'wait',
    workersHoldModel: false,
    ...(drafts ? { speculation: speculateWith(drafts) } : {}),
  });
  const { coordinator, workers } = cluster;
  const conversation = coordinator.conversation();
  const undisturbed = await complete(conversation, promptTokens, length);
  const options = { sampling: greedy, maxTokens: length, isEnd: () => false };
  conversation.reset();
  const generation = conversation.generate(Int32Array.from(promptTokens), options);
  const tokens: number[] = [];
  const moved = coordinator.failure.then((lost) => {
    expect(lost.message).toMatch(`lost worker 127.0.0.1:${workers.addresses[1]?.port}`);
    return coordinator.moveStage(2, spare.address);
  });
  for await (const token of generation) {
    tokens.push(token);
    if (tokens.length === 10) workers.kill(1);
  }
  await moved;
  expect(tokens).toEqual(undisturbed.tokens);
  await drafts?.close();
});

test('a stage that cannot be moved stays where it is', async () => {
  await using cluster = await openTestCluster({ layers: [8, 8] });
  const { coordinator, workers } = cluster;
  const conversation = coordinator.conversation();
  const before = await complete(conversation, promptTokens, 20);
  const nowhere = { host: '127.0.0.1', port: 1 };
  await expect(coordinator.moveStage(1, nowhere)).rejects.toThrow(
    /cannot reach worker 127.0.0.1:1/,
  );
  await expect(coordinator.moveStage(0, nowhere)).rejects.toThrow(/stage 0 cannot be moved/);
  await expect(coordinator.moveStage(2, nowhere)).rejects.toThrow(/stage 2 cannot be moved/);
  expect(coordinator.plan.stages[1]?.name).toBe(`127.0.0.1:${workers.addresses[0]?.port}`);
  conversation.reset();
  expect((await complete(conversation, promptTokens, 20)).tokens).toEqual(before.tokens);
});
