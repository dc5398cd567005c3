import { afterEach, expect, test, vi } from 'vitest';
import { engineNames } from '../../engine/engine.js';
import { estimateStageMemory } from '../../engine/memory.js';
import { openTestEngine } from '../support/engines.js';
import { tinyModel } from '../support/tiny-model.js';

afterEach(() => vi.restoreAllMocks());

test.each(engineNames)('memory for %s is estimated with or without the engine', (name) => {
  const shard = { firstLayer: 1, endLayer: 3, embedding: false, head: true };
  const sizes = {
    source: tinyModel('q4_0'),
    shard,
    cells: 1024,
    kvType: 'f16',
    maxStepRows: 64,
  } as const;
  expect(estimateStageMemory(name, sizes)).toEqual(openTestEngine(name).estimate(sizes));
});

test('the engines need different memory for the same shard', () => {
  const shard = { firstLayer: 0, endLayer: 3, embedding: true, head: true };
  const sizes = {
    source: tinyModel('q4_0'),
    shard,
    cells: 1024,
    kvType: 'f16',
    maxStepRows: 64,
  } as const;
  const [ggml, onnx] = engineNames.map((name) => estimateStageMemory(name, sizes));
  // Which keeps them as f32; the other has a few cells more.
  expect(onnx!.kv / ggml!.kv).toBeCloseTo((2 * 1024) / 1088);
  expect(onnx!.weights).toBeGreaterThan(ggml!.weights);
});

test.each(engineNames)('free memory of %s is measured when it is read', (name) => {
  const { device } = openTestEngine(name);
  const available = vi.spyOn(process, 'availableMemory');
  for (const bytes of [5e9, 3e9]) {
    available.mockReturnValue(bytes);
    expect(device.freeBytes).toBe(bytes);
  }
});
