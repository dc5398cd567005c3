import { expect, test } from 'vitest';
import { greedy } from '../../step/sampling.js';
import { openGguf } from '../../model/gguf/reader.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { testCalibrationText } from '../support/calibration.js';
import { clearTokens, goldenCases, repositoryPath } from '../support/golden.js';

const cases = goldenCases('demo-q8_0.json').slice(0, 8);

test('only stages that keep 8 bits of their own are calibrated', async () => {
  const calibrationText = () => {
    throw new Error('nobody needs it');
  };
  const layers = [8, 8];
  for (const [engine, kvType, stored] of [
    ['ggml', 'q8_0', ['q8_0']],
    ['onnx', 'f16', ['f32']],
  ] as const) {
    await using cluster = await openTestCluster({ engine, kvType, layers, calibrationText });
    expect([...cluster.coordinator.kvTypes]).toEqual(stored);
  }
});

test('a chain keeps 8 bits in the ways of its engines', async () => {
  await using cluster = await openTestCluster({
    engine: 'onnx',
    workerEngine: 'ggml',
    kvType: 'q8_0',
    layers: [8, 8],
  });
  expect([...cluster.coordinator.kvTypes].sort()).toEqual(['int8', 'q8_0']);
});

test('a text longer than a step, and than a conversation, calibrates in smaller pieces', async () => {
  const source = await openGguf(repositoryPath('models/demo.gguf'));
  const text = testCalibrationText(source);
  await source.close();
  expect(text.length).toBeGreaterThan(3 * 100);
  await using cluster = await openTestCluster({
    engine: 'onnx',
    kvType: 'q8_0',
    layers: [5, 6, 5],
    chunkTokens: 50,
    context: 80,
    calibrationText: () => text,
  });
  const conversation = cluster.coordinator.conversation();
  for (const golden of cases) {
    const expected = clearTokens(golden).slice(0, 80 - golden.promptTokens.length);
    const { tokens } = await complete(conversation, golden.promptTokens, expected.length, greedy);
    expect(tokens).toEqual(expected);
    conversation.reset();
  }
});
