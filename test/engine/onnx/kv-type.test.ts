import { expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import { kvTypes, type Stage } from '../../../engine/engine.js';
import { providerNamed } from '../../../engine/onnx/providers.js';
import { storageFor } from '../../../engine/onnx/kv/kv-type.js';
import { openTestEngine } from '../../support/engines.js';
import { tinyModel } from '../../support/tiny-model.js';

const shard = { firstLayer: 0, endLayer: 3, embedding: true, head: true };
const none = new Float32Array(0);

function load(kvType: (typeof kvTypes)[number], engine: 'ggml' | 'onnx' = 'onnx'): Promise<Stage> {
  const source = tinyModel('f32');
  return openTestEngine(engine).load({ source, shard, cells: 64, kvType, maxStepRows: 8 });
}

test('for f16 a stage keeps f32', async () => {
  const stage = await load('f16');
  expect(stage.kvType).toBe('f32');
  // 2 kinds, 3 layers, 64 cells and one behind them, of 2 heads with 32 features.
  expect(stage.memory.kv).toBe(2 * 3 * 65 * 2 * 32 * 4);
  stage.dispose();
});

test('for q8_0 a stage keeps 8 bits', async () => {
  const stage = await load('q8_0');
  expect(stage.kvType).toBe('int8');
  expect(stage.memory.kv).toBe(2 * 3 * 64 * 2 * 32);
  stage.dispose();
});

test('q4_0 is refused', async () => {
  await expect(load('q4_0')).rejects.toThrow(
    'onnx keeps keys and values as f32 or in 8 bits, not as q4_0: use --kv-type q8_0, or --engine ggml',
  );
});

test('providers with memory of their own refuse 8 bits', () => {
  expect(storageFor('f16', providerNamed('webgpu'))).toBe('f32');
  expect(() => storageFor('q8_0', providerNamed('webgpu'))).toThrow(
    'webgpu keeps keys and values as f32, not as q8_0: leave --kv-type out, or use --provider cpu',
  );
});

test.each(kvTypes)('ggml keeps %s as it is', async (kvType) => {
  const stage = await load(kvType, 'ggml');
  expect(stage.kvType).toBe(kvType);
  stage.dispose();
});

test('8 bits need a step that calibrates them, and that begins a text', async () => {
  const stage = await load('q8_0');
  const text = [5, 6, 7, 8];
  const cells = { start: 8, length: 32 };
  const step = textStep(text, { cells, choices: 'last' });
  await expect(stage.forward(step, none, none)).rejects.toThrow(
    'keys and values of 8 bits need a step that calibrates them first',
  );
  const later = textStep(text, { first: 1, cells, choices: 'last' });
  await expect(stage.forward({ ...later, calibratesKv: true }, none, none)).rejects.toThrow(
    'must be the beginning of a text',
  );
  await stage.forward({ ...step, calibratesKv: true }, none, none);
  expect(await stage.forward(step, none, none)).toHaveLength(1);
  stage.dispose();
});
