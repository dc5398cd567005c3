import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import { logprobsOf } from '../../engine/sampling/logprobs.js';
import { headDemand, segmentResults } from '../../engine/sampling/step-results.js';
import { openGguf } from '../../model/gguf/reader.js';
import { writeGguf } from '../../model/gguf/writer.js';
import { randomTokens } from '../../model/random-tokens.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { greedy, type Sampling } from '../../step/sampling.js';
import { wantChoice, wantLogprobs, wantNothing, type Segment } from '../../step/step.js';
import { choiceByDefinition } from '../support/choice-by-definition.js';
import { computings, openTestEngine } from '../support/engines.js';
import { llamaCppLogits } from '../support/llama-cpp.js';
import { loadStages } from '../support/local-stages.js';
import { Random } from '../support/random.js';
import { tinyShape } from '../support/tiny-model.js';

const { vocabulary } = tinyShape;
const sampled: Sampling = {
  ...greedy,
  temperature: 1.1,
  topK: 20,
  repetitionPenalty: 1.3,
  seed: 3,
};

function segmentOf(sequence: number, want: readonly number[], sampling: Sampling): Segment {
  const count = want.length;
  const text = randomTokens(count + sequence, vocabulary).slice(sequence);
  const cells = { start: 64 * (sequence - 1), length: 64 };
  const of = { sequence, text, first: 0, count, cells, choices: 'all', sampling } as const;
  return { ...causalSegment(of), want: Uint8Array.from(want) };
}

/** Log-probabilities by the definition of softmax. */
function logSoftmax(logits: Float32Array): number[] {
  const max = Math.max(...logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - max), 0);
  return Array.from(logits, (logit) => logit - max - Math.log(sum));
}

function sortedTokens(logits: ArrayLike<number>): number[] {
  const tokens = Array.from({ length: logits.length }, (_, token) => token);
  return tokens.sort((a, b) => logits[b]! - logits[a]! || a - b);
}

describe('log-probabilities', () => {
  const random = new Random(5);
  const logits = Float32Array.from({ length: 2000 }, () => Math.round(random.share() * 400) / 10);

  test.each([0, 1, 7, 20])('of the %i likeliest are those of softmax', (top) => {
    const { chosen, topTokens, top: values } = logprobsOf(logits, 17, top);
    const expected = logSoftmax(logits);
    expect(chosen).toBeCloseTo(expected[17]!, 5);
    expect([...topTokens]).toEqual(sortedTokens(logits).slice(0, top));
    topTokens.forEach((token, i) => expect(values[i]).toBeCloseTo(expected[token]!, 5));
  });

  test('of more tokens than there are', () => {
    const { topTokens } = logprobsOf(Float32Array.of(1, 3, 2), 0, 20);
    expect([...topTokens]).toEqual([1, 2, 0]);
  });

  test('of large logits do not overflow', () => {
    const { chosen, top } = logprobsOf(Float32Array.of(2000, 1999), 1, 1);
    expect(chosen).toBeCloseTo(-Math.log1p(Math.E), 5);
    expect(top[0]).toBeCloseTo(-Math.log1p(1 / Math.E), 5);
  });
});

describe('what a step asks of the head', () => {
  const of = (...segments: Segment[]) => {
    const { rows, likeliest, logits } = headDemand({ segments });
    return { rows: [...rows], likeliest, logits };
  };
  const choices = [wantNothing, wantChoice, wantChoice];

  test('is the likeliest tokens alone, while all are greedy', () => {
    const segments = [segmentOf(1, choices, greedy), segmentOf(2, choices, greedy)];
    expect(of(...segments)).toEqual({ rows: [1, 2, 4, 5], likeliest: true, logits: false });
  });

  test('is logits where some are sampled, and beside them what others ask', () => {
    const both = { rows: [1, 2, 4, 5], likeliest: true, logits: true };
    expect(of(segmentOf(1, choices, sampled), segmentOf(2, choices, greedy))).toEqual(both);
    expect(of(segmentOf(1, choices, sampled))).toMatchObject({ likeliest: false, logits: true });
    const wanted = segmentOf(1, [wantNothing, wantLogprobs(0)], greedy);
    expect(of(wanted)).toEqual({ rows: [1], likeliest: true, logits: true });
  });

  test('is nothing where nothing is wanted', () => {
    const nothing = segmentOf(1, [wantNothing, wantNothing], sampled);
    expect(of(nothing)).toEqual({ rows: [], likeliest: false, logits: false });
    const head = { likeliest: () => 0, logits: () => new Float32Array(1) };
    expect(segmentResults({ segments: [nothing] }, head)).toEqual([
      { sequence: 1, choices: new Int32Array(0) },
    ]);
  });
});

describe('a step of four sequences that want different things', () => {
  const segments = [
    segmentOf(1, [wantNothing, wantLogprobs(3), wantChoice], greedy),
    segmentOf(2, [wantChoice, wantLogprobs(0), wantLogprobs(20)], sampled),
    segmentOf(3, [wantNothing, wantNothing], greedy),
    segmentOf(4, [wantChoice], { ...sampled, seed: 4 }),
  ];
  let folder: string;
  let file: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
    file = path.join(folder, 'tiny.gguf');
    const model = syntheticModel(tinyShape, 'f32');
    await writeGguf(file, model.metadata, [...model.tensors.values()], (...part) =>
      model.read(...part),
    );
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("gets llama.cpp's log-probabilities, before the penalty and temperature", async () => {
    const source = await openGguf(file);
    const [stage] = await loadStages(openTestEngine('ggml'), source, [tinyShape.layers], 256);
    if (!stage) throw new Error('no stage');
    const none = new Float32Array(0);
    const results = await stage.forward({ id: 1, epoch: 1, segments }, none, none);
    expect(results.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    expect(results.map(({ choices }) => choices.length)).toEqual([2, 3, 0, 1]);
    expect(results.map(({ logprobs }) => logprobs?.map((of) => of?.top.length))).toEqual([
      [3, undefined],
      [undefined, 0, 20],
      undefined,
      undefined,
    ]);

    for (const [s, { tokens, want, positions, sampling }] of segments.entries()) {
      const reference = llamaCppLogits(file, [...tokens], vocabulary);
      const rows = [...want.keys()].filter((row) => want[row] !== wantNothing);
      for (const [i, row] of rows.entries()) {
        const logits = reference[row]!;
        const expected = logSoftmax(logits);
        const { choices, logprobs } = results[s]!;
        const recent = tokens.subarray(0, row + 1);
        const choice = choiceByDefinition(logits, sampling, positions[row]!, recent);
        expect(choices[i], `segment ${s}, row ${row}`).toBe(choice);
        const given = logprobs?.[i];
        if (!given) continue;
        // llama.cpp's flash attention adds up in f16.
        expect(given.chosen).toBeCloseTo(expected[choice]!, 2);
        expect([...given.topTokens]).toEqual(sortedTokens(expected).slice(0, given.top.length));
        given.topTokens.forEach((token, j) =>
          expect(given.top[j]).toBeCloseTo(expected[token]!, 2),
        );
      }
    }
    stage.dispose();
    await source.close();
  });

  test.each(computings)(
    '$engine, KV $kvType: choices are those by definition of its logits',
    async ({ engine, kvType }) => {
      const model = syntheticModel({ ...tinyShape, vocabulary: 5000 }, 'f32');
      const filters: Partial<Sampling>[] = [
        { topK: 40, topP: 0.95, temperature: 0.7 },
        { topP: 0.95, minP: 0.05 },
        { typicalP: 0.9, repetitionPenalty: 1.1 },
        { temperature: 0, repetitionPenalty: 1.2 },
      ];
      const [stage] = await loadStages(
        openTestEngine(engine),
        model,
        [tinyShape.layers],
        256,
        kvType,
        4,
      );
      if (!stage) throw new Error('no stage');
      const none = new Float32Array(0);
      for (let seed = 0; seed < 10; seed++) {
        const segments = filters.map((change, i) =>
          segmentOf(i + 1, new Array<number>(8).fill(wantChoice), {
            ...greedy,
            temperature: 1,
            ...change,
            seed,
          }),
        );
        const step = { id: 1, epoch: 1, segments };
        const results = await stage.forward(step, none, none);
        const logits = await stage.logits(step, none);
        let row = 0;
        for (const [s, { tokens, positions, sampling }] of segments.entries()) {
          const expected = Array.from(tokens, (_, i) => {
            const of = logits.subarray(row * 5000, ++row * 5000);
            return choiceByDefinition(of, sampling, positions[i]!, tokens.subarray(0, i + 1));
          });
          expect([...results[s]!.choices], `seed ${seed}, segment ${s}`).toEqual(expected);
        }
      }
      stage.dispose();
    },
  );
});
