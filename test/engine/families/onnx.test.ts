import { describe, expect, test } from 'vitest';
import { tinyHybrids } from '../../../model/synthetic/hybrid-shapes.js';
import { syntheticModel } from '../../../model/synthetic/synthetic-model.js';
import type { SyntheticShape } from '../../../model/synthetic/shape.js';
import { tinyShape } from '../../../model/synthetic/tiny-shapes.js';
import { plainShapes } from '../../../model/synthetic/plain-shapes.js';
import { openTestEngine } from '../../support/engines.js';
import { expectLlamaCpp, splitsOf } from '../../support/family.js';
import { loadStages } from '../../support/local-stages.js';

const onnx = openTestEngine('onnx');

const all = Object.values(plainShapes);

/** What ONNX Runtime cannot compute of a family's models. */
const refused: Readonly<Record<string, string>> = {
  cohere2: '"layerNorm"',
  gemma2: '"gated by gelu"',
  gemma3: '"gated by gelu"',
  granite: 'scores of another scale',
  mistral3: '"temper"',
  phi3: 'scores of another scale',
};

const scales = { embedding_scale: 1.5, residual_scale: 0.7, logit_scale: 2 };

const computed: readonly SyntheticShape[] = [
  ...all.filter(({ architecture }) => !(architecture in refused)),
  { ...tinyShape, architecture: 'granite', numbers: scales },
  { ...tinyShape, architecture: 'mistral3', headSize: 64 },
];

describe('ONNX Runtime computes', () => {
  test.each(computed)('$architecture', (shape) =>
    // It rounds otherwise than llama.cpp, whose attention takes queries and weights as f16.
    expectLlamaCpp(onnx, { shape, type: 'f32', splits: splitsOf(shape), bound: 2e-3 }),
  );
});

describe('ONNX Runtime refuses in one line', () => {
  test.each(all.filter(({ architecture }) => architecture in refused))(
    '$architecture',
    async (shape) => {
      const { layers, architecture } = shape;
      const model = syntheticModel(shape, 'f32');
      await expect(loadStages(onnx, model, [layers], 128)).rejects.toThrow(
        `ONNX Runtime cannot compute ${refused[architecture]} (a model of the ${architecture} family) here: use --engine ggml`,
      );
    },
  );

  test.each(Object.values(tinyHybrids))('$architecture', async (shape) => {
    const model = syntheticModel(shape, 'f32');
    await expect(loadStages(onnx, model, [shape.layers], 128)).rejects.toThrow(
      `ONNX Runtime cannot compute layers that keep a state (a model of the ${shape.architecture} family) here: use --engine ggml`,
    );
  });
});
