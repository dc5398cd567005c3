import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { passingSecret } from '../../app/cluster-secret.js';
import { SpawnedWorkers } from '../../app/spawn.js';
import type { Conversation } from '../../coord/conversation.js';
import { writeGguf } from '../../model/gguf/writer.js';
import { randomTokens } from '../../model/random-tokens.js';
import { tinyHybrid } from '../../model/synthetic/hybrid-shapes.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { OracleDraft } from '../../speculative/oracle-draft.js';
import type { Schedule } from '../../speculative/schedule.js';
import { greedy } from '../../step/sampling.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { openTestEngine } from '../support/engines.js';
import { generate, loadStages } from '../support/local-stages.js';

const source = syntheticModel(tinyHybrid, 'q8_0');
const prompt = [...randomTokens(200, tinyHybrid.vocabulary)];
const other = prompt.toReversed();
const length = 40;
const layers = [2, 2, 1];

let folder: string;
let model: string;
/** What one stage alone makes of the prompts. */
let expected: number[];
let expectedOther: number[];

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
  model = path.join(folder, 'hybrid.gguf');
  const tensors = [...source.tensors.values()];
  await writeGguf(model, source.metadata, tensors, (...part) => source.read(...part));
  const stages = await loadStages(openTestEngine('ggml'), source, [5]);
  expected = await generate(stages, prompt, length);
  expectedOther = await generate(stages, other, length);
  for (const stage of stages) stage.dispose();
  expect(new Set(expected).size).toBeGreaterThan(10);
});

afterAll(() => rm(folder, { recursive: true }));

describe('a text whose layers keep a state', () => {
  test('is the same after a reset, from a prefix, after going back, and beside another', async () => {
    await using cluster = await openTestCluster({
      model,
      layers,
      conversations: 2,
      chunkTokens: 64,
    });
    const conversations = [cluster.coordinator.conversation(), cluster.coordinator.conversation()];
    const [first, second] = conversations as [Conversation, Conversation];
    const answer = await complete(first, prompt, length);
    expect(answer.tokens).toEqual(expected);

    const longer = [...prompt, ...answer.tokens, ...other.slice(0, 30)];
    const continued = await complete(first, longer, length);
    expect(continued.summary.reusedTokens).toBe(prompt.length + length - 1);
    first.reset();
    const whole = await complete(first, longer, length);
    expect(whole.summary.reusedTokens).toBe(0);
    expect(whole.tokens).toEqual(continued.tokens);

    const forked = [...prompt.slice(0, 150), ...other.slice(0, 50)];
    const back = await complete(first, forked, length);
    expect(back.summary.reusedTokens).toBe(128);
    expect(back.tokens).toEqual((await complete(second, forked, length)).tokens);

    const both = await Promise.all([
      complete(first, prompt, length),
      complete(second, other, length),
    ]);
    expect(both.map(({ tokens }) => tokens)).toEqual([expected, expectedOther]);
  });

  test('is the same after one that was stopped while it was read, and while it was written', async () => {
    await using cluster = await openTestCluster({ model, layers, chunkTokens: 64 });
    const conversation = cluster.coordinator.conversation();
    const stopped = new AbortController();
    const reading = complete(conversation, prompt, length, greedy, stopped.signal);
    stopped.abort();
    expect((await reading).summary.finishReason).toBe('cancelled');
    for (const count of [1, 7, 20]) {
      const options = { sampling: greedy, maxTokens: length, isEnd: () => false };
      let tokens = 0;
      for await (const token of conversation.generate(Int32Array.from(prompt), options)) {
        expect(token).toBe(expected[tokens]);
        if (++tokens === count) break;
      }
    }
    expect((await complete(conversation, prompt, length)).tokens).toEqual(expected);
  });

  test.each([
    ['without drafts', false],
    ['with drafts', true],
  ])('goes on where a worker was killed, %s', async (_, withDrafts) => {
    const shared = passingSecret();
    const settings = { threads: 1, logLevel: 'error', engine: 'ggml', model } as const;
    const spare = await SpawnedWorkers.start(1, settings, [], shared.text);
    try {
      await using cluster = await openTestCluster({
        model,
        layers,
        shared,
        onLostWorker: 'wait',
        chunkTokens: 64,
        ...(withDrafts ? { speculation: guessing(() => schedules[2] as Schedule) } : {}),
      });
      const { coordinator, workers } = cluster;
      const [address] = spare.addresses;
      const moved = coordinator.failure.then(() => coordinator.moveStage(1, address!));
      const tokens: number[] = [];
      const options = { sampling: greedy, maxTokens: length, isEnd: () => false };
      const prompted = Int32Array.from(prompt);
      for await (const token of coordinator.conversation().generate(prompted, options)) {
        tokens.push(token);
        if (tokens.length === 10) workers.kill(0);
      }
      await moved;
      expect(tokens).toEqual(expected);
    } finally {
      await spare.end();
    }
  });

  test('is the same with drafts, whatever their schedule', async () => {
    let schedule: Schedule = schedules[0] as Schedule;
    const speculation = guessing(() => schedule);
    await using cluster = await openTestCluster({ model, layers, chunkTokens: 64, speculation });
    const { coordinator } = cluster;
    const conversation = coordinator.conversation();
    for (schedule of schedules) {
      expect((await complete(conversation, prompt, length)).tokens).toEqual(expected);
      expect(conversation.computedTokens).toBeGreaterThanOrEqual(prompt.length + length - 1 - 16);
    }
    const stats = coordinator.speculation?.stats;
    expect(stats?.accepted).toBeGreaterThan(50);
    expect(stats?.cancelledSteps).toBeGreaterThan(10);
  });
});

const schedules: readonly Schedule[] = [
  { mode: 'sync', sizes: [4], window: 1 },
  { mode: 'sync', sizes: [16], window: 1 },
  { mode: 'pipelined', sizes: [1, 3], window: 4 },
  { mode: 'pipelined', sizes: [2, 12], window: 8 },
];

/** Drafts of which three of four are right. */
function guessing(schedule: () => Schedule) {
  return () =>
    Promise.resolve({
      choice: 'auto' as const,
      drafts: () => new OracleDraft([...prompt, ...expected], 0.75),
      draftMs: 0,
      schedule,
    });
}
