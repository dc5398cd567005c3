import { expect, test } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import { openGgmlEngine } from '../../engine/ggml/ggml-engine.js';
import { filterCandidates } from '../../engine/sampling/candidates.js';
import { LogitBlocks } from '../../engine/sampling/logit-blocks.js';
import { openGguf } from '../../model/gguf/reader.js';
import { greedy, type Sampling } from '../../step/sampling.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { openDraftModel, speculateWith } from '../support/drafts.js';
import { goldenCases, repositoryPath } from '../support/golden.js';
import { loadStages } from '../support/local-stages.js';

const sampling: Sampling = { ...greedy, temperature: 1.2, topP: 0.9, minP: 0.01 };
const samples = 5_000;

/** A prompt, and how its answer begins; what follows the next two tokens, which are certain, is open. */
const story = goldenCases('demo-q8_0.json').find(({ prompt }) => prompt.includes('a mouse.'));
const text = [...(story?.promptTokens ?? []), ...(story?.tokens.slice(0, 8) ?? [])];
const certain = story?.tokens.slice(8, 10) ?? [];

test('a token after an accepted draft is distributed as the filtered softmax of the target', async () => {
  const expected = await filteredSoftmax([...text, ...certain]);
  expect(expected.size).toBeGreaterThan(5);
  const drafts = await openDraftModel();
  await using cluster = await openTestCluster({
    layers: [16],
    speculation: speculateWith(drafts, () => ({ mode: 'pipelined', sizes: [2], window: 2 })),
  });
  const conversation = cluster.coordinator.conversation();
  const counts = new Map<number, number>();
  let total = 0;
  for (let seed = 0; seed < samples; seed++) {
    const { tokens } = await complete(conversation, text, 3, { ...sampling, seed });
    const [first, second, third] = tokens;
    if (first !== certain[0] || second !== certain[1]) continue;
    total++;
    counts.set(third as number, (counts.get(third as number) ?? 0) + 1);
  }
  await drafts.close();
  const stats = cluster.coordinator.speculation?.stats;
  expect(total).toBeGreaterThan(0.99 * samples);
  expect(stats?.accepted).toBeGreaterThan(0.9 * samples);
  expect([...counts.keys()].filter((token) => !expected.has(token))).toEqual([]);
  expect(chiSquare(counts, expected, total)).toBeLessThan(percentile999(expected.size - 1));
});

async function filteredSoftmax(tokens: readonly number[]): Promise<Map<number, number>> {
  const source = await openGguf(repositoryPath('models/demo.gguf'));
  const engine = openGgmlEngine({ device: 'cpu', threads: 1 });
  const [stage] = await loadStages(engine, source, [16]);
  try {
    const segment = causalSegment({
      sequence: 1,
      text: Int32Array.from(tokens),
      first: 0,
      count: tokens.length,
      cells: { start: 0, length: tokens.length },
      choices: 'last',
      sampling,
    });
    const step = { id: 1, epoch: 1, segments: [segment] };
    const logits = (await stage?.logits(step, new Float32Array(0))) ?? new Float32Array(0);
    const kept = [...filterCandidates(new LogitBlocks(logits), sampling)];
    const scaled = kept.map((token) => logits[token]! / sampling.temperature);
    const weights = scaled.map((each) => Math.exp(each - Math.max(...scaled)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return new Map(weights.map((weight, i) => [kept[i] as number, weight / sum]));
  } finally {
    stage?.dispose();
    await source.close();
  }
}

/** Pearson's statistic. */
function chiSquare(
  counts: ReadonlyMap<number, number>,
  expected: ReadonlyMap<number, number>,
  total: number,
): number {
  return [...expected].reduce((sum, [token, share]) => {
    const mean = total * share;
    return sum + ((counts.get(token) ?? 0) - mean) ** 2 / mean;
  }, 0);
}

/** The 99.9th percentile of chi-square (Wilson and Hilferty's approximation, 1931). */
function percentile999(degrees: number): number {
  const spread = 2 / (9 * degrees);
  return degrees * (1 - spread + 3.09 * Math.sqrt(spread)) ** 3;
}
