import pino from 'pino';
import { describe, expect, test } from 'vitest';
import { greedy, type Sampling } from '../../engine/engine.js';
import { Tokenizer } from '../../model/tokenizer.js';
import type { Schedule } from '../../speculative/schedule.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { openDraftModel } from '../support/drafts.js';
import { clearTokens, goldenCases, repositoryPath } from '../support/golden.js';
import { Divergences } from '../support/divergences.js';

const cases = goldenCases('demo-q8_0.json');
const windows = [1, 2, 3, 4, 5, 6, 7, 8];
const draftLengths = Array.from({ length: 16 }, (_, i) => i + 1);

/** Every draft length in sync mode; in a pipeline with windows in turn, so that all pairs come up over the prompts. */
function schedulesFor(prompt: number): Schedule[] {
  return draftLengths.flatMap((length): Schedule[] => [
    { mode: 'sync', sizes: [length + 1], window: 1 },
    {
      mode: 'pipelined',
      sizes: [1 + (length % 3), length],
      window: windows[(prompt + length) % windows.length] as number,
    },
  ]);
}

describe.each([[[13, 3]], [[8, 8]], [[5, 6, 5]]])('over %j layers', (layers) => {
  test('speculation gives the tokens of plain decoding, whatever its schedule', async () => {
    let schedule: Schedule = { mode: 'off', sizes: [1], window: 1 };
    const drafts = await openDraftModel();
    await using cluster = await openTestCluster({
      layers,
      speculation: {
        choice: 'auto',
        drafts: (range) => drafts.source(range),
        draftMs: drafts.tokenMs,
        schedule: () => schedule,
      },
    });
    const { coordinator } = cluster;
    const conversation = coordinator.conversation();
    await using divergences = await Divergences.open('demo.gguf', layers);
    for (const [i, { promptTokens }] of cases.entries()) {
      const off = { speculate: false };
      const { tokens } = await complete(conversation, promptTokens, 64, greedy, undefined, off);
      const golden = clearTokens(cases[i] as (typeof cases)[0]);
      expect(tokens.slice(0, golden.length)).toEqual(golden.slice(0, tokens.length));
      for (schedule of schedulesFor(i)) {
        const speculative = await complete(conversation, promptTokens, 64);
        await divergences.compare(promptTokens, tokens, speculative.tokens, greedy);
      }
    }
    await drafts.close();
    divergences.check();
    const stats = coordinator.speculation?.stats;
    // Drafts are good, and wrong ones cancel what builds on them.
    expect(stats?.acceptanceRate).toBeGreaterThan(0.8);
    expect(stats?.cancelledSteps).toBeGreaterThan(100);
  });
});

describe('a seed gives the same text', () => {
  const sampling: Sampling = { ...greedy, temperature: 0.8, topP: 0.95, minP: 0.02 };
  const schedules: Schedule[] = [
    { mode: 'sync', sizes: [5], window: 1 },
    { mode: 'pipelined', sizes: [1, 2, 4], window: 3 },
    { mode: 'pipelined', sizes: [8], window: 8 },
  ];

  test('for 200 prompts in all modes, with and without a repetition penalty', async () => {
    const prompts = storyPrompts(200);
    let schedule: Schedule | undefined;
    const drafts = await openDraftModel();
    const layers = [8, 8];
    await using cluster = await openTestCluster({
      layers,
      speculation: {
        choice: 'auto',
        drafts: (range) => drafts.source(range),
        draftMs: drafts.tokenMs,
        schedule: () => schedule as Schedule,
      },
    });
    const conversation = cluster.coordinator.conversation();
    await using divergences = await Divergences.open('demo.gguf', layers);
    const texts = new Set<string>();
    for (const [i, prompt] of prompts.entries()) {
      const repetitionPenalty = i % 2 === 0 ? 1 : 1.1;
      const seeded = { ...sampling, seed: i, repetitionPenalty };
      const off = { speculate: false };
      const { tokens } = await complete(conversation, prompt, 80, seeded, undefined, off);
      texts.add(tokens.join(' '));
      for (schedule of schedules) {
        const speculative = await complete(conversation, prompt, 80, seeded);
        await divergences.compare(prompt, tokens, speculative.tokens, seeded);
      }
    }
    await drafts.close();
    divergences.check();
    expect(texts.size).toBeGreaterThan(190);
  });
});

test('auto measures the pipeline, and finds that good drafts pay', async () => {
  const drafts = await openDraftModel();
  await using cluster = await openTestCluster({
    layers: [8, 8],
    speculation: {
      choice: 'auto',
      drafts: (range) => drafts.source(range),
      draftMs: drafts.tokenMs,
    },
  });
  const { coordinator } = cluster;
  const conversation = coordinator.conversation();
  for (const golden of cases.slice(0, 6)) {
    const expected = clearTokens(golden);
    const { tokens } = await complete(conversation, golden.promptTokens, expected.length);
    expect(tokens).toEqual(expected);
  }
  const stats = coordinator.speculation?.stats;
  expect(stats?.drafted).toBeGreaterThan(50);
  expect(stats?.mode).not.toBe('off');
  expect(stats?.promisedSpeedup).toBeGreaterThan(1);
  await drafts.close();
});

test('drafts that break cost one warning, not the answer', async () => {
  const warnings: string[] = [];
  const logger = pino(
    { level: 'warn' },
    { write: (line) => void warnings.push((JSON.parse(line) as { msg: string }).msg) },
  );
  await using cluster = await openTestCluster({
    layers: [13, 3],
    logger,
    speculation: {
      choice: 'pipelined',
      draftMs: 0,
      drafts: () => {
        let calls = 0;
        return {
          name: 'broken',
          *draft(_text, count) {
            if (calls++ === 3) throw new Error('the draft fell over');
            for (let i = 0; i < count; i++) yield 5;
          },
        };
      },
    },
  });
  const conversation = cluster.coordinator.conversation();
  for (const golden of cases.slice(0, 2)) {
    const expected = clearTokens(golden);
    const { tokens } = await complete(conversation, golden.promptTokens, expected.length);
    expect(tokens).toEqual(expected);
  }
  expect(warnings).toEqual(['going on without drafts: the draft fell over']);
});

/** Questions that the demo model answers with different stories. */
function storyPrompts(count: number): number[][] {
  using tokenizer = Tokenizer.load(repositoryPath('models/demo.gguf'));
  const names = ['Mia', 'Leo', 'Ada', 'Tom', 'Eva', 'Max', 'Ivy', 'Sam'];
  const animals = ['fox', 'dog', 'cat', 'owl', 'bear'];
  const things = ['red kite', 'small boat', 'silver key', 'old bell', 'blue lantern'];
  return Array.from({ length: count }, (_, i) => {
    const name = names[i % 8] as string;
    const animal = animals[Math.floor(i / 8) % 5] as string;
    const thing = things[Math.floor(i / 40) % 5] as string;
    const text = `<|im_start|>user\nTell me a story about a ${animal} named ${name} and a ${thing}.<|im_end|>\n<|im_start|>assistant\n`;
    return [...tokenizer.encode(text, { parseSpecial: true, addSpecial: true })];
  });
}
