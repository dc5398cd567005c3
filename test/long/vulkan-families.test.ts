import { describe, test } from 'vitest';
import { openGgmlEngine } from '../../engine/ggml/ggml-engine.js';
import { syntheticShapes } from '../../model/synthetic/shapes.js';
import { expectLlamaCpp } from '../support/family.js';
import { missingForVulkan } from '../support/vulkan.js';

const missing = missingForVulkan();

/** One model of every kind of layer. */
const kinds = {
  'a window and soft caps': { architecture: 'gemma2', numbers: { 'attention.sliding_window': 48 } },
  experts: syntheticShapes['tiny-qwen3moe']!,
  'sinks and biases': syntheticShapes['tiny-gpt-oss']!,
  'latent keys': syntheticShapes['tiny-deepseek2']!,
} as const;

describe.skipIf(missing)('layers on Vulkan give what llama.cpp does on a CPU', () => {
  test.each(Object.entries(kinds))('with %s', (_, shape) => {
    const engine = openGgmlEngine({ device: 'vulkan', threads: 1 });
    return expectLlamaCpp(engine, { shape, type: 'q8_0', splits: [[1, 2]], bound: 5e-2 });
  });
});
