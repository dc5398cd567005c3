import { expect, test } from 'vitest';
import { greedy } from '../../step/sampling.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { openDraftModel, speculateWith } from '../support/drafts.js';
import { clearTokens, goldenCases } from '../support/golden.js';

const [golden] = goldenCases('demo-q8_0.json');
if (!golden) throw new Error('no golden case');
const { promptTokens } = golden;
const expected = clearTokens(golden);

test('figures can be asked for by several at once, while stages compute', async () => {
  await using cluster = await openTestCluster({ layers: [0, 8, 8] });
  const { coordinator } = cluster;
  const answer = complete(coordinator.conversation(), promptTokens, expected.length);
  const asked = await Promise.all(Array.from({ length: 5 }, () => coordinator.stats()));
  for (const stages of asked) expect(stages.map(({ layers }) => layers)).toEqual([0, 8, 8]);
  expect((await answer).tokens).toEqual(expected);
  const [, first, second] = await coordinator.stats({ reset: true });
  expect(first?.steps).toBeGreaterThanOrEqual(expected.length);
  expect(second?.bytesReceived).toBeGreaterThan(0);
  expect((await coordinator.stats()).map(({ steps }) => steps)).toEqual([0, 0, 0]);
});

test('whoever closes a coordinator has lost nobody', async () => {
  await using cluster = await openTestCluster({ layers: [6, 5, 5] });
  const { coordinator } = cluster;
  let lost: string | undefined;
  void coordinator.failure.then(({ message }) => (lost = message));
  const conversation = coordinator.conversation();
  const options = { sampling: greedy, maxTokens: 400, isEnd: () => false };
  const generation = conversation.generate(Int32Array.from(promptTokens), options);
  await generation.next();
  await Promise.all([coordinator.close(), coordinator.close()]);
  await expect(toItsEnd(generation)).rejects.toThrow('the coordinator was closed');
  expect(() => coordinator.conversation()).toThrow('the coordinator was closed');
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(lost).toBeUndefined();
});

test('of a chain that breaks while drafts are in flight, the worker that is gone is named', async () => {
  const drafts = await openDraftModel();
  await using cluster = await openTestCluster({
    layers: [4, 4, 4, 4],
    speculation: speculateWith(drafts, () => ({ mode: 'pipelined', sizes: [1, 2], window: 4 })),
  });
  const { coordinator, workers } = cluster;
  const frozen = workers.addresses[1];
  const conversation = coordinator.conversation();
  const options = { sampling: greedy, maxTokens: 400, isEnd: () => false };
  const generation = conversation.generate(Int32Array.from(promptTokens), options);
  for (let tokens = 0; tokens < 10; tokens++) await generation.next();
  workers.kill(1, 'SIGSTOP');
  await expect(toItsEnd(generation)).rejects.toThrow(
    `lost worker ${frozen?.host}:${frozen?.port}: `,
  );
  const lost = await coordinator.failure;
  expect(lost).toMatchObject({ code: 'worker-lost' });
  expect(lost.message).toMatch(`lost worker ${frozen?.host}:${frozen?.port}: `);
  workers.kill(1);
  await drafts.close();
});

async function toItsEnd(generation: AsyncGenerator<number, unknown>): Promise<void> {
  while (!(await generation.next()).done);
}
