import { expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import type { KvType, Stage } from '../../../engine/engine.js';
import { openGguf } from '../../../model/gguf/reader.js';
import type { SyntheticShape } from '../../../model/synthetic.js';
import { openTestEngine } from '../../support/engines.js';
import { goldenCases, repositoryPath } from '../../support/golden.js';
import { loadStages } from '../../support/local-stages.js';
import { tinyModel } from '../../support/tiny-model.js';

const none = new Float32Array(0);
const text = goldenCases('demo-q8_0.json')
  .flatMap(({ promptTokens, tokens }) => [...promptTokens, ...tokens])
  .slice(0, 96);

/** Logits after every token, computed `count` tokens at a time. */
async function logitsInSteps(
  stage: Stage,
  of: readonly number[],
  count: number,
): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  const cells = { start: 37, length: of.length };
  for (let first = 0; first < of.length; first += count) {
    const logits = await stage.logits(textStep(of, { first, count, cells }), none);
    const size = logits.length / count;
    for (let i = 0; i < count; i++) rows.push(logits.slice(i * size, (i + 1) * size));
  }
  return rows;
}

/** Which of the counts give other logits than one token at a time does. */
async function differing(
  stage: Stage,
  of: readonly number[],
  counts: readonly number[],
): Promise<number[]> {
  const alone = await logitsInSteps(stage, of, 1);
  const found: number[] = [];
  for (const count of counts) {
    const rows = await logitsInSteps(stage, of, count);
    // Comparing arrays of bytes is quick, also when they differ.
    const isEqual = rows.every((row, i) =>
      Buffer.from(row.buffer).equals(Buffer.from((alone[i] as Float32Array).buffer)),
    );
    if (!isEqual) found.push(count);
  }
  return found;
}

test.each([
  ['demo.gguf', 'f16'],
  ['demo-q4_0.gguf', 'f16'],
  ['demo.gguf', 'q8_0'],
  ['demo-q4_0.gguf', 'q8_0'],
] as const)(
  '%s, KV %s: a token gets the same bits whatever it is computed with',
  async (model, kvType) => {
    const source = await openGguf(repositoryPath(`models/${model}`));
    const [stage] = await loadStages(openTestEngine('onnx'), source, [16], 512, kvType);
    if (!stage) throw new Error('no stage');
    // Rounding changes the last bits, which 8-bit activations amplify to some hundredths of a logit.
    expect(await differing(stage, text, [2, 3, 8, 32, 96])).toEqual([]);
    stage.dispose();
    await source.close();
  },
);

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
  const [last] = (await logitsInSteps(stage, tokens, 48)).slice(-1);
  expect(last?.some((value) => !Number.isFinite(value))).toBe(false);
  expect(await differing(stage, tokens, [2, 3, 16, 48])).toEqual([]);
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
