import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import type { Engine, Stage } from '../../engine/engine.js';
import { openGgmlEngine } from '../../engine/ggml/ggml-engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import { randomTokens } from '../../model/random-tokens.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { greedy } from '../../step/sampling.js';
import { syntheticShapes } from '../../model/synthetic/shapes.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { expectTokensOfDevice } from '../support/device-tokens.js';
import { missingForVulkan } from '../support/vulkan.js';
import { clearTokens, goldenCases, repositoryPath } from '../support/golden.js';
import { generate, loadStages } from '../support/local-stages.js';
import { relativeError } from '../support/relative-error.js';
import { tinyModel } from '../support/tiny-model.js';

const missing = missingForVulkan();
if (missing) console.warn(`The Vulkan device path is not tested: ${missing}`);

describe.skipIf(missing)('the demo model on Vulkan', () => {
  let engine: Engine;
  let source: TensorSource;
  let stages: Stage[];

  beforeAll(async () => {
    engine = openGgmlEngine({ device: 'vulkan', threads: 1 });
    source = await openGguf(repositoryPath('models/demo.gguf'));
    stages = await loadStages(engine, source, [13, 3]);
  });
  afterAll(async () => {
    for (const stage of stages) stage.dispose();
    await source.close();
  });

  test('computes on the device', () => {
    expect(engine.device).toMatchObject({ kind: 'vulkan', name: 'Vulkan0' });
  });

  test.each(goldenCases('demo-q8_0.json').slice(2, 5))('$prompt', async (golden) => {
    const expected = clearTokens(golden);
    const tokens = await generate(stages, golden.promptTokens, expected.length);
    expectTokensOfDevice(tokens, golden);
  });
});

test.skipIf(missing)('segments get on Vulkan what they get alone, to rounding', async () => {
  const engine = openGgmlEngine({ device: 'vulkan', threads: 1 });
  const [stage] = await loadStages(engine, tinyModel('q8_0'), [3]);
  if (!stage) throw new Error('no stage');
  const logitsOf = (...segments: ReturnType<typeof causalSegment>[]) =>
    stage.logits({ id: 1, epoch: 1, segments }, new Float32Array(0));
  const segments = [4, 1, 7].map((count, i) => {
    const of = { sequence: i + 1, text: randomTokens(7, 300).map((token) => (token + i) % 300) };
    const cells = { start: 64 * i, length: 64 };
    return causalSegment({ ...of, first: 0, count, cells, choices: 'all', sampling: greedy });
  });
  const together = await logitsOf(...segments);
  let first = 0;
  for (const segment of segments) {
    const alone = await logitsOf(segment);
    const part = together.subarray(first, (first += alone.length));
    expect(relativeError(part, alone)).toBeLessThan(0.03);
  }
  expect(first).toBe(together.length);
  stage.dispose();
});

test.skipIf(missing)('layers with a state are refused on Vulkan, in one line', async () => {
  const engine = openGgmlEngine({ device: 'vulkan', threads: 1 });
  const source = syntheticModel(syntheticShapes['tiny-qwen35']!, 'q8_0');
  await expect(loadStages(engine, source, [5])).rejects.toThrow(
    'does not compute layers that keep a state (a model of the qwen35 family) yet: use --device cpu',
  );
});
