import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { passingSecret } from '../../app/cluster-secret.js';
import { SpawnedWorkers } from '../../app/spawn.js';
import { Coordinator } from '../../coord/coordinator.js';
import { randomTokens } from '../../model/random-tokens.js';
import { Turns } from '../../stage/turns.js';
import { complete, silent } from '../support/cluster.js';
import { openTestEngine } from '../support/engines.js';
import { tinyModel, tinyShape } from '../support/tiny-model.js';

const context = 131_072;
const promptTokens = 130_000;

/** As little attention as there can be: its cost grows with the square of the text. */
const shape = { layers: 2, hiddenSize: 64, heads: 1, kvHeads: 1, headSize: 32, feedForward: 64 };

test(`a text of ${promptTokens} tokens is read, continued, and reused, over two processes`, async () => {
  const cacheDirectory = await mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
  const shared = passingSecret();
  const settings = { threads: 1, logLevel: 'error' as const, cacheDir: cacheDirectory };
  await using workers = await SpawnedWorkers.start(1, settings, [], shared.text);
  try {
    await using coordinator = await Coordinator.open({
      source: tinyModel('f16', {}, shape),
      engine: openTestEngine('ggml'),
      turns: new Turns(),
      workers: workers.addresses,
      layers: [1, 1],
      context,
      kvType: 'f16',
      calibrationText: () => new Int32Array(0),
      codec: 'f32',
      chunkTokens: 512,
      cacheDirectory,
      softwareVersion: 'test',
      secret: shared.secret,
      logger: silent,
    });
    const conversation = coordinator.conversation();
    const prompt = [...randomTokens(promptTokens, tinyShape.vocabulary)];
    const first = await complete(conversation, prompt, 12);
    expect(first.summary).toMatchObject({ promptTokens, reusedTokens: 0, outputTokens: 12 });
    expect(conversation.computedTokens).toBe(promptTokens + 11);

    const second = await complete(conversation, [...prompt, ...first.tokens], 4);
    // The last token of an answer has not been computed yet when the answer ends.
    expect(second.summary.reusedTokens).toBe(promptTokens + 11);

    // What follows a change is computed again, in as many rows as two tiles have at most.
    const changed = [...prompt.slice(0, -3), 1, 2, 3];
    const third = await complete(conversation, changed, 2);
    expect(third.summary.reusedTokens).toBeGreaterThanOrEqual(promptTokens - 128);
    expect(third.tokens).toHaveLength(2);
  } finally {
    await rm(cacheDirectory, { recursive: true, force: true });
  }
});
