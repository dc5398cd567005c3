import { expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import { loadWholeModel } from '../../bench/whole-model.js';
import type { KvType, Stage } from '../../engine/engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import { randomTokens } from '../../model/random-tokens.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { openTestEngine } from '../support/engines.js';
import { repositoryPath } from '../support/golden.js';
import { tinyHybrids } from '../../model/synthetic/hybrid-shapes.js';
import { tinyShapes } from '../../model/synthetic/tiny-shapes.js';
import { tinyModel } from '../support/tiny-model.js';

const cells = { start: 0, length: 400 };
const vocabulary = 300;
const text = randomTokens(360, vocabulary);

/** A prompt in chunks that end at multiples of 64, none of which is smaller; then single tokens, or several at once. */
const prompts = [[300], [64, 236], [128, 64, 108], [64, 64, 64, 108], [192, 108]];
const answers = [Array.from({ length: 60 }, () => 1), [16, 2, 7, 3, 16, 16], [5, 16, 16, 16, 7]];

/** @returns the logits of the prompt's last token and of all tokens that follow it */
async function logitsOf(
  stage: Stage,
  prompt: readonly number[],
  answer: readonly number[],
): Promise<Float32Array> {
  const logits: Float32Array[] = [];
  let first = 0;
  for (const [i, count] of [...prompt, ...answer].entries()) {
    const choices = i < prompt.length - 1 ? 'none' : i < prompt.length ? 'last' : 'all';
    const step = textStep(text, { first, count, cells, choices });
    logits.push(await stage.logits(step, new Float32Array(0)));
    first += count;
  }
  const size = logits.at(-1)!.length / answer.at(-1)!;
  const all = new Float32Array((1 + answer.reduce((a, b) => a + b)) * size);
  let offset = 0;
  for (const rows of logits) {
    all.set(rows, offset);
    offset += rows.length;
  }
  return all;
}

const demo = (name: string) => () => openGguf(repositoryPath(`models/${name}`));
const models: Record<string, () => Promise<TensorSource>> = {
  'demo.gguf': demo('demo.gguf'),
  'demo-q4_0.gguf': demo('demo-q4_0.gguf'),
  'a tiny one in f16': () => Promise.resolve(tinyModel('f16')),
  'a tiny one in f32': () => Promise.resolve(tinyModel('f32')),
  'experts in q4_0': () => Promise.resolve(tinyModel('q4_0', {}, tinyShapes['tiny-glm4moe'])),
  'experts in q8_0': () => Promise.resolve(tinyModel('q8_0', {}, tinyShapes['tiny-qwen2moe'])),
  'states in q4_0': () => Promise.resolve(tinyModel('q4_0', {}, tinyHybrids['tiny-qwen3next'])),
  'states in q8_0': () => Promise.resolve(tinyModel('q8_0', {}, tinyHybrids['tiny-qwen35'])),
  'clamped experts in mxfp4': () =>
    Promise.resolve(tinyModel('mxfp4', {}, tinyShapes['tiny-gpt-oss'])),
};

const cases = Object.keys(models).flatMap((model) =>
  (['f16', 'q8_0'] as const).map((kvType): { model: string; kvType: KvType } => ({
    model,
    kvType,
  })),
);

test.each(cases)(
  '$model, KV $kvType: a text has the same bits however it is cut',
  async ({ model, kvType }) => {
    const source = await models[model]!();
    const engine = openTestEngine('ggml', 1);
    const options = { source, kvType, cells: cells.length, maxStepRows: 512 };
    const stage = await loadWholeModel(engine, options, () => new Int32Array(0));
    const expected = await logitsOf(stage, prompts[0]!, answers[0]!);
    for (const prompt of prompts.slice(1))
      expect(await logitsOf(stage, prompt, answers[1]!), `${prompt}`).toEqual(expected);
    for (const answer of answers.slice(1))
      expect(await logitsOf(stage, prompts[1]!, answer), `${answer}`).toEqual(expected);
    stage.dispose();
    await source.close();
  },
);
