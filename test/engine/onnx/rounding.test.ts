import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import type { KvType, Stage } from '../../../engine/engine.js';
import { openGguf } from '../../../model/gguf/reader.js';
import type { SyntheticShape } from '../../../model/synthetic/shape.js';
import { openTestEngine } from '../../support/engines.js';
import { goldenCases, repositoryPath } from '../../support/golden.js';
import { loadStages } from '../../support/local-stages.js';
import { tinyModel } from '../../support/tiny-model.js';

const none = new Float32Array(0);
const written = goldenCases('demo-q8_0.json').flatMap(({ promptTokens, tokens }) => [
  ...promptTokens,
  ...tokens,
]);
const text = Array.from({ length: 530 }, (_, i) => written[i % written.length] as number);

/** Digests of the logits after every token, computed so many tokens at a time: the counts in turn, again and again. */
async function rowsInSteps(
  stage: Stage,
  of: readonly number[],
  counts: readonly number[],
): Promise<string[]> {
  const rows: string[] = [];
  const cells = { start: 37, length: of.length };
  for (let i = 0; rows.length < of.length; i++) {
    const first = rows.length;
    const count = Math.min(counts[i % counts.length] as number, of.length - first);
    const logits = await stage.logits(textStep(of, { first, count, cells }), none);
    expect(logits.every(Number.isFinite)).toBe(true);
    const size = logits.length / count;
    for (let row = 0; row < count; row++)
      rows.push(digestOf(logits.subarray(row * size, (row + 1) * size)));
  }
  return rows;
}

function digestOf(values: Float32Array): string {
  return createHash('sha256').update(values).digest('hex');
}

/** Which ways to compute a text give other logits than the first one does, and for which token first. */
async function differing(
  stage: Stage,
  of: readonly number[],
  [usual = [], ...others]: readonly (readonly number[])[],
): Promise<string[]> {
  const expected = await rowsInSteps(stage, of, usual);
  const found: string[] = [];
  for (const counts of others) {
    const rows = await rowsInSteps(stage, of, counts);
    const at = rows.findIndex((row, i) => row !== expected[i]);
    if (at >= 0) found.push(`${counts.join()}: token ${at}`);
  }
  return found;
}

/** One token at a time, and others: how many tokens steps may have, whatever keys and values are kept as. */
const few = [[1], [2], [7], [16], [63]];
/** With f32 any number will do, also those that leave a last row over in a tile of 64, 128 or 256. */
const any = [...few, [64], [65], [100], [129, 1], [256], [257], [512]];
/** With 8 bits steps of more tokens end at multiples of 64; what is left over comes in steps of any size. */
const onGrid = [[64], [128], [192, 64], [256], [512]];

test.each([
  ['demo.gguf', 'f16', 2, any],
  ['demo-q4_0.gguf', 'f16', 1, any],
  ['demo.gguf', 'q8_0', 1, few],
  ['demo-q4_0.gguf', 'q8_0', 2, few],
  ['demo.gguf', 'q8_0', 2, onGrid],
  ['demo-q4_0.gguf', 'q8_0', 1, onGrid],
] as const)(
  '%s, KV %s, %i threads: a token gets the same bits whatever it is computed with (%j)',
  async (model, kvType, threads, counts) => {
    const source = await openGguf(repositoryPath(`models/${model}`));
    const engine = openTestEngine('onnx', threads);
    const [stage] = await loadStages(engine, source, [16], 37 + text.length, kvType);
    if (!stage) throw new Error('no stage');
    // Rounding changes the last bits, which 8-bit activations amplify to some hundredths of a logit.
    expect(await differing(stage, text, counts)).toEqual([]);
    stage.dispose();
    await source.close();
  },
);

test('with KV of 8 bits, what follows a block gets the same bits in steps of any size', async () => {
  const source = tinyModel('q4_0', {}, { heads: 4, kvHeads: 2 });
  const [stage] = await loadStages(openTestEngine('onnx'), source, [3], 37 + 200, 'q8_0');
  if (!stage) throw new Error('no stage');
  const tokens = text.slice(0, 200).map((token) => token % 300);
  const ways = [[192, 1, 1, 1, 1, 1, 1, 1, 1], [192, 3, 5], [128, 72], [64, 64, 69, 3], [200]];
  expect(await differing(stage, tokens, ways)).toEqual([]);
  stage.dispose();
});

test.each([
  ['every head has keys of its own', { heads: 2, kvHeads: 2 }],
  ['three heads share keys', { heads: 6, kvHeads: 2 }],
  ['four heads share keys', { heads: 4, kvHeads: 1 }],
])('%s: the bits are the same', async (_, shape) => {
  for (const kvType of ['f16', 'q8_0'] as const) await checkBits(shape, kvType);
});

async function checkBits(shape: Partial<SyntheticShape>, kvType: KvType): Promise<void> {
  const layers = 3;
  const source = tinyModel('q8_0', {}, { ...shape, layers });
  // Exactly as many cells as there are tokens, so that the last one has none behind it.
  const [stage] = await loadStages(openTestEngine('onnx'), source, [layers], 37 + 48, kvType);
  if (!stage) throw new Error('no stage');
  const tokens = Array.from({ length: 48 }, (_, i) => (i * 53 + 7) % 300);
  expect(await differing(stage, tokens, [[1], [2], [3], [16], [48]])).toEqual([]);
  stage.dispose();
}

test('a token that is alone leaves the cells behind its own as they are', async () => {
  const source = tinyModel('q4_0', {}, { heads: 4, kvHeads: 1 });
  const [stage] = await loadStages(openTestEngine('onnx'), source, [3], 128);
  if (!stage) throw new Error('no stage');
  const step = (of: readonly number[], first: number, count: number, start: number) => {
    const cells = { start, length: 64 };
    return stage.logits(textStep(of, { first, count, cells, choices: 'last' }), none);
  };
  const neighbour = [9, 8, 7, 6, 5];
  await step(neighbour, 0, 4, 64);
  const expected = await step(neighbour, 4, 1, 64);
  // The text before it grows until its last token is in the cell before the neighbour's first one.
  const grown = Array.from({ length: 64 }, (_, i) => i + 1);
  await step(grown, 0, 60, 0);
  for (let i = 60; i < 64; i++) await step(grown, i, 1, 0);
  expect(await step(neighbour, 4, 1, 64)).toEqual(expected);
  stage.dispose();
});
