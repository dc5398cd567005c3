import pino from 'pino';
import { describe, expect, test } from 'vitest';
import { greedy } from '../../step/sampling.js';
import type { DraftSource } from '../../speculative/draft-source.js';
import type { Schedule } from '../../speculative/schedule.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { openDraftModel, speculateWith } from '../support/drafts.js';
import { clearTokens, goldenCases } from '../support/golden.js';
import { Divergences } from '../support/divergences.js';

const cases = goldenCases('demo-q8_0.json');
const windows = [1, 2, 3, 4, 5, 6, 7, 8];
const draftLengths = Array.from({ length: 16 }, (_, i) => i + 1);

/** Half of the draft lengths, with windows in turn: over the prompts all pairs come up in both modes. */
function schedulesFor(prompt: number): Schedule[] {
  return draftLengths
    .filter((length) => length % 2 === prompt % 2)
    .flatMap((length): Schedule[] => [
      { mode: 'sync', sizes: [length + 1], window: 1 },
      {
        mode: 'pipelined',
        sizes: [1 + (length % 3), length],
        window: windows[((prompt >> 1) + length) % windows.length] as number,
      },
    ]);
}

/** Other splits and the other engine speculate over some of the prompts: schedules do not depend on what computes. */
const splits = [
  { engine: 'ggml', kvType: 'f16', layers: [13, 3], prompts: cases },
  { engine: 'ggml', kvType: 'f16', layers: [8, 8], prompts: cases.slice(0, 6) },
  { engine: 'ggml', kvType: 'f16', layers: [5, 6, 5], prompts: cases.slice(6, 14) },
  { engine: 'onnx', kvType: 'f16', layers: [8, 8], prompts: cases.slice(0, 6) },
  { engine: 'onnx', kvType: 'f16', layers: [5, 6, 5], prompts: cases.slice(6, 9) },
  { engine: 'onnx', kvType: 'q8_0', layers: [8, 8], prompts: cases.slice(9, 12) },
] as const;

describe.each(splits)(
  '$engine over $layers layers, KV $kvType',
  ({ layers, prompts, ...computing }) => {
    test('speculation gives the tokens of plain decoding, whatever its schedule', async () => {
      let schedule: Schedule = { mode: 'off', sizes: [1], window: 1 };
      const drafts = await openDraftModel();
      await using cluster = await openTestCluster({
        ...computing,
        layers,
        speculation: speculateWith(drafts, () => schedule),
      });
      const { coordinator } = cluster;
      const conversation = coordinator.conversation();
      await using divergences = await Divergences.open('demo.gguf', layers, computing);
      for (const [i, golden] of prompts.entries()) {
        const { promptTokens } = golden;
        const off = { speculate: false };
        const { tokens } = await complete(conversation, promptTokens, 64, greedy, undefined, off);
        const clear = clearTokens(golden);
        expect(tokens.slice(0, clear.length)).toEqual(clear.slice(0, tokens.length));
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
  },
);

test('auto measures the pipeline, and tries drafts', async () => {
  const drafts = await openDraftModel();
  await using cluster = await openTestCluster({
    layers: [8, 8],
    speculation: speculateWith(drafts),
  });
  const { coordinator } = cluster;
  const conversation = coordinator.conversation();
  for (const golden of cases.slice(0, 6)) {
    const expected = clearTokens(golden);
    const { tokens } = await complete(conversation, golden.promptTokens, expected.length);
    expect(tokens).toEqual(expected);
  }
  // Where drafts do not pay, as on a busy machine, it still guesses now and then, to learn whether they would.
  expect(coordinator.speculation?.stats.drafted).toBeGreaterThan(0);
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
    speculation: () => Promise.resolve({ choice: 'pipelined', draftMs: 0, drafts: brokenDrafts }),
  });
  const conversation = cluster.coordinator.conversation();
  for (const golden of cases.slice(0, 2)) {
    const expected = clearTokens(golden);
    const { tokens } = await complete(conversation, golden.promptTokens, expected.length);
    expect(tokens).toEqual(expected);
  }
  expect(warnings).toEqual(['going on without drafts: the draft fell over']);
});

function brokenDrafts(): DraftSource {
  let calls = 0;
  return {
    name: 'broken',
    *draft(_text, count) {
      if (calls++ === 3) throw new Error('the draft fell over');
      for (let i = 0; i < count; i++) yield 5;
    },
  };
}
