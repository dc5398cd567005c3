import { describe, expect, test } from 'vitest';
import { causalBatch } from '../../coord/step-builder.js';
import { greedy } from '../../engine/engine.js';
import { complete, openTestCluster } from '../support/cluster.js';
import {
  clearMargin,
  clearTokens,
  goldenCases,
  goldenModels,
  type GoldenCase,
} from '../support/golden.js';

const splits = [[16], [13, 3], [8, 8], [1, 15], [5, 6, 5], [4, 4, 4, 4]];
const runs = goldenModels.flatMap(({ model, golden }) =>
  (['f32', 'f16'] as const).flatMap((codec) =>
    splits.map((layers) => ({ model, golden, codec, layers })),
  ),
);

describe.each(runs)('$model, $layers over $codec', ({ model, golden, codec, layers }) => {
  test('gives the tokens of llama.cpp', async () => {
    await using cluster = await openTestCluster({ model, layers, codec });
    const conversation = cluster.coordinator.conversation();
    const range = { start: 0, length: 512 };
    for (const entry of goldenCases(golden)) {
      const expected = clearTokens(entry);
      const { tokens } = await complete(conversation, entry.promptTokens, expected.length);
      expect(tokens, `free: ${entry.prompt}`).toEqual(expected);
      conversation.reset();

      const text = [...entry.promptTokens, ...entry.tokens];
      const outputs = Int32Array.from(text, (_, i) => i);
      const chosen = await cluster.coordinator.step(
        causalBatch(text, 0, text.length, range, outputs, greedy),
      );
      expect(atClearSteps(entry, chosen), `teacher-forced: ${entry.prompt}`).toEqual(
        atClearSteps(entry, [...entry.promptTokens.slice(1), ...entry.tokens]),
      );
    }
  });
});

/** The choices where the margin is clear; `choices[i]` follows token i of prompt and answer. */
function atClearSteps(golden: GoldenCase, choices: ArrayLike<number>): (number | undefined)[] {
  return golden.margins.flatMap((margin, i) =>
    margin < clearMargin ? [] : [choices[golden.promptTokens.length - 1 + i]],
  );
}
