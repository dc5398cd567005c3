import { test } from 'vitest';
import { openGguf } from '../../model/gguf/reader.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { openTestEngine } from '../support/engines.js';
import { repositoryPath } from '../support/golden.js';
import { loadStages } from '../support/local-stages.js';
import { expectBitsAlone, segmentCells } from '../support/segments.js';
import { tinyShapes } from '../../model/synthetic/tiny-shapes.js';
import { tinyModel } from '../support/tiny-model.js';

/** With a shared expert, and a layer without experts. */
const experts = (type: string) => tinyModel(type, {}, tinyShapes['tiny-glm4moe']);

const models: Record<string, { open: () => Promise<TensorSource>; layers: number[] }> = {
  'demo.gguf': { open: () => openGguf(repositoryPath('models/demo.gguf')), layers: [10, 6] },
  'demo-q4_0.gguf': { open: () => openGguf(repositoryPath('models/demo-q4_0.gguf')), layers: [16] },
  'a tiny one in f16': { open: () => Promise.resolve(tinyModel('f16')), layers: [2, 1] },
  'a tiny one in f32': { open: () => Promise.resolve(tinyModel('f32')), layers: [3] },
  'experts in q4_0': { open: () => Promise.resolve(experts('q4_0')), layers: [2, 1] },
  'experts in q8_0': { open: () => Promise.resolve(experts('q8_0')), layers: [3] },
  'clamped experts in mxfp4': {
    open: () => Promise.resolve(tinyModel('mxfp4', {}, tinyShapes['tiny-gpt-oss'])),
    layers: [1, 2],
  },
  ...Object.fromEntries(
    ['f16', 'f32', 'q4_0', 'q8_0'].map((type) => [
      `a tiny deepseek2 in ${type}`,
      {
        open: () => Promise.resolve(tinyModel(type, {}, tinyShapes['tiny-deepseek2'])),
        layers: [1, 2],
      },
    ]),
  ),
};

const tiny = ['a tiny one in f16', 'a tiny one in f32'].flatMap((model) =>
  (['f16', 'q8_0'] as const).flatMap((kvType) =>
    [1, 2].map((threads) => ({ model, kvType, threads })),
  ),
);
const cases = [
  { model: 'demo.gguf', kvType: 'f16', threads: 1 },
  { model: 'demo.gguf', kvType: 'q8_0', threads: 2 },
  { model: 'demo-q4_0.gguf', kvType: 'f16', threads: 2 },
  { model: 'demo-q4_0.gguf', kvType: 'q8_0', threads: 1 },
  { model: 'experts in q4_0', kvType: 'f16', threads: 1 },
  { model: 'experts in q4_0', kvType: 'q8_0', threads: 1 },
  { model: 'experts in q8_0', kvType: 'f16', threads: 2 },
  { model: 'clamped experts in mxfp4', kvType: 'f16', threads: 1 },
  ...tiny,
  { model: 'a tiny deepseek2 in f16', kvType: 'f16', threads: 1 },
  { model: 'a tiny deepseek2 in f32', kvType: 'f16', threads: 2 },
  { model: 'a tiny deepseek2 in q4_0', kvType: 'q8_0', threads: 1 },
  { model: 'a tiny deepseek2 in q8_0', kvType: 'q8_0', threads: 2 },
] as const;

test.each(cases)(
  '$model, KV $kvType, $threads threads: segments get the bits that they get alone',
  async ({ model, kvType, threads }) => {
    const { open, layers } = models[model]!;
    const source = await open();
    const engine = openTestEngine('ggml', threads);
    const stages = await loadStages(engine, source, layers, segmentCells, kvType);
    await expectBitsAlone(stages);
    for (const stage of stages) stage.dispose();
    await source.close();
  },
);
