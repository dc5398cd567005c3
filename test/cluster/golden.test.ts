import { describe, expect, test } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import { greedy } from '../../step/sampling.js';
import { complete, openTestCluster } from '../support/cluster.js';
import {
  clearMargin,
  clearTokens,
  goldenCases,
  goldenModels,
  type GoldenCase,
} from '../support/golden.js';

/** What computes in the coordinator and in the workers; splits without workers have one engine. */
const chains = [
  {
    engine: 'ggml',
    workerEngine: 'ggml',
    kvType: 'f16',
    codecs: ['f32', 'f16'],
    splits: [[16], [13, 3], [8, 8], [1, 15], [5, 6, 5], [4, 4, 4, 4]],
  },
  {
    engine: 'onnx',
    workerEngine: 'onnx',
    kvType: 'f16',
    codecs: ['f32'],
    splits: [[16], [1, 15], [0, 8, 8], [4, 4, 4, 4]],
  },
  {
    engine: 'ggml',
    workerEngine: 'onnx',
    kvType: 'f16',
    codecs: ['f16'],
    splits: [
      [13, 3],
      [5, 6, 5],
    ],
  },
  {
    engine: 'onnx',
    workerEngine: 'ggml',
    kvType: 'f16',
    codecs: ['f16'],
    splits: [
      [13, 3],
      [5, 6, 5],
    ],
  },
  // 8 bits of KV are kept in two ways, which a chain may mix.
  { engine: 'ggml', workerEngine: 'onnx', kvType: 'q8_0', codecs: ['f16'], splits: [[8, 8]] },
  { engine: 'onnx', workerEngine: 'onnx', kvType: 'q8_0', codecs: ['f32'], splits: [[4, 4, 4, 4]] },
] as const;
const runs = goldenModels.flatMap((files) =>
  chains.flatMap(({ splits, codecs, ...engines }) =>
    codecs.flatMap((codec) => splits.map((layers) => ({ ...files, codec, layers, ...engines }))),
  ),
);

const title = '$model, $layers over $codec, $engine and $workerEngine, KV $kvType';
describe.each(runs)(title, ({ golden, ...chain }) => {
  test('gives the tokens of llama.cpp', async () => {
    await using cluster = await openTestCluster(chain);
    const conversation = cluster.coordinator.conversation();
    for (const entry of goldenCases(golden)) {
      const expected = clearTokens(entry);
      const { tokens } = await complete(conversation, entry.promptTokens, expected.length);
      expect(tokens, `free: ${entry.prompt}`).toEqual(expected);
      conversation.reset();

      const text = [...entry.promptTokens, ...entry.tokens];
      const segment = causalSegment({
        sequence: 1,
        text: Int32Array.from(text),
        first: 0,
        count: text.length,
        cells: { start: 0, length: 512 },
        choices: 'all',
        sampling: greedy,
      });
      const [chosen] = await cluster.coordinator.step([segment]);
      expect(atClearSteps(entry, chosen?.choices ?? []), `teacher-forced: ${entry.prompt}`).toEqual(
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
