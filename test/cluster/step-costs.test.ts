import fs from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { passingSecret } from '../../app/cluster-secret.js';
import { SpawnedWorkers } from '../../app/spawn.js';
import { engineNames } from '../../engine/engine.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { goldenCases, repositoryPath } from '../support/golden.js';

const [golden] = goldenCases('demo-q8_0.json');
if (!golden) throw new Error('no golden case');
const { promptTokens } = golden;

const costFiles = (cacheDirectory: string) =>
  fs.readdir(path.join(cacheDirectory, 'costs')).catch(() => []);

test.each(engineNames)('measuring leaves the text as it is, %s', async (engine) => {
  const text = async (measuresCosts: boolean) => {
    await using cluster = await openTestCluster({ engine, layers: [13, 3], measuresCosts });
    const { coordinator, cacheDirectory } = cluster;
    expect((await costFiles(cacheDirectory)).length).toBe(measuresCosts ? 2 : 0);
    expect((await coordinator.stats()).map(({ steps }) => steps)).toEqual([0, 0]);
    const { tokens } = await complete(coordinator.conversation(), promptTokens, 40);
    return tokens;
  };
  expect(await text(true)).toEqual(await text(false));
});

test('every stage tells what its steps took, also one that has no layers before it', async () => {
  await using cluster = await openTestCluster({ layers: [0, 10, 6] });
  const { coordinator } = cluster;
  await complete(coordinator.conversation(), promptTokens, 5);
  const [none, ...computing] = await coordinator.stats();
  expect(none?.times).toEqual([]);
  for (const { times } of computing) {
    expect(times[0]).toMatchObject({ tokens: 1, cells: 256 });
    expect(times.length).toBeGreaterThan(1);
  }
});

test('a stage that was moved is measured where it is now', async () => {
  const shared = passingSecret();
  const model = repositoryPath('models/demo.gguf');
  const settings = { threads: 2, logLevel: 'error' as const, model };
  await using cluster = await openTestCluster({ layers: [10, 6], shared, measuresCosts: true });
  const spare = await SpawnedWorkers.start(1, settings, [], shared.text);
  try {
    const [address] = spare.addresses;
    if (!address) throw new Error('no spare worker');
    const { coordinator, cacheDirectory } = cluster;
    const before = await costFiles(cacheDirectory);
    await coordinator.moveStage(1, address);
    // The stage with more threads, and the route to it; the first stage is what it was.
    expect((await costFiles(cacheDirectory)).length).toBe(before.length + 1);
    await complete(coordinator.conversation(), promptTokens, 5);
  } finally {
    await spare.end();
  }
});
