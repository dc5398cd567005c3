import { expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import { loadWholeModel } from '../../bench/whole-model.js';
import type { Stage, StagePages } from '../../engine/engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import { randomTokens } from '../../model/random-tokens.js';
import { tinyHybrids } from '../../model/synthetic/hybrid-shapes.js';
import type { SyntheticShape } from '../../model/synthetic/shape.js';
import { tinyShape, tinyShapes } from '../../model/synthetic/tiny-shapes.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { pageCells, type PageCopy } from '../../step/pages.js';
import { computings, openTestEngine, type Computing } from '../support/engines.js';
import { repositoryPath } from '../support/golden.js';
import { tinyModel } from '../support/tiny-model.js';

const demo = () => openGguf(repositoryPath('models/demo.gguf'));
const tiny = (shape: SyntheticShape | undefined) => () =>
  Promise.resolve(tinyModel('f32', {}, shape));

const cases: (Computing & { model: string; open: () => Promise<TensorSource> })[] = [
  ...computings.map((computing) => ({ ...computing, model: 'demo.gguf', open: demo })),
  { engine: 'ggml', kvType: 'q8_0', model: 'demo.gguf', open: demo },
  { engine: 'ggml', kvType: 'q4_0', model: 'demo.gguf', open: demo },
  {
    engine: 'ggml',
    kvType: 'f16',
    model: 'a tiny deepseek2',
    open: tiny(tinyShapes['tiny-deepseek2']),
  },
];

const text = randomTokens(400, 200);
const prompt = 390;
const pages = 4;
const nothing = new Float32Array(0);

async function load(
  { engine, kvType, open }: (typeof cases)[number],
  cells = pages * pageCells,
): Promise<Stage> {
  return loadWholeModel(
    openTestEngine(engine),
    { source: await open(), cells, kvType, maxStepRows: 512 },
    () => text,
  );
}

function part(page: number, first: number, count: number) {
  const cells = { start: page * pageCells, length: 2 * pageCells };
  return textStep(text, { first, count, cells, choices: 'last' });
}

const copy = (stage: Stage, ...copies: PageCopy[]) =>
  stage.forward({ id: 1, epoch: 1, segments: [], copies }, nothing, nothing);

const logits = (stage: Stage, ...of: Parameters<typeof part>) => stage.logits(part(...of), nothing);

test.each(cases)(
  '$engine, KV $kvType, $model: a text goes on in pages it was copied to',
  async (of) => {
    const stage = await load(of);
    await logits(stage, 0, 0, prompt);
    const expected = await logits(stage, 0, prompt, 3);
    // What is copied over is not what was there.
    await logits(stage, 2, 0, 5);
    expect(await logits(stage, 2, prompt, 3)).not.toEqual(expected);
    await copy(stage, { from: 0, to: 2, count: 2 });
    expect(await logits(stage, 2, prompt, 3)).toEqual(expected);
    expect(await logits(stage, 0, prompt, 3)).toEqual(expected);
    stage.dispose();
  },
);

test.each(cases)('$engine, KV $kvType, $model: pages go on in another stage', async (of) => {
  const [stage, other] = [await load(of), await load(of)];
  await logits(stage, 1, 0, prompt);
  const expected = await logits(stage, 1, prompt, 3);
  const [from, to] = [stage.pages, other.pages] as [StagePages, StagePages];
  const content = [await from.read(1), await from.read(2)];
  expect(content.map(({ length }) => length)).toEqual([from.bytes, from.bytes]);
  await to.write(0, content[0]!);
  await to.write(1, content[1]!);
  expect(await logits(other, 0, prompt, 3)).toEqual(expected);
  expect(Buffer.from(await to.read(0)).equals(content[0]!)).toBe(true);
  for (const each of [stage, other]) each.dispose();
});

test('pages that are not there, or not as long as pages, are refused', async () => {
  const stage = await load(cases[0]!);
  const memory = stage.pages!;
  const refusal = { name: 'EngineError', code: 'step' };
  for (const page of [-1, 0.5, pages, NaN]) {
    await expect(memory.read(page)).rejects.toMatchObject(refusal);
    await expect(memory.write(page, new Uint8Array(memory.bytes))).rejects.toMatchObject(refusal);
  }
  await expect(memory.write(0, new Uint8Array(memory.bytes - 1))).rejects.toMatchObject(refusal);
  stage.dispose();
});

const windowed = {
  ...tinyShape,
  architecture: 'gemma2',
  numbers: { 'attention.sliding_window': 64 },
};

test.each([
  ['a window', windowed],
  ['a state', tinyHybrids['tiny-qwen35']],
])('a model with %s keeps its cells where they are', async (_, shape) => {
  const stage = await load({ ...cases[0]!, open: tiny(shape) }, 8192);
  expect(stage.pages).toBeUndefined();
  stage.dispose();
});

test('a stage with less cells than a page has none', async () => {
  const stage = await load(cases[0]!, 64);
  expect(stage.pages).toBeUndefined();
  stage.dispose();
});
