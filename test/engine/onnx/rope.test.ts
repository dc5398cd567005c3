import { expect, test } from 'vitest';
import { tensorTypeNamed } from '../../../model/gguf/tensor-types.js';
import { ropeFactorsTensor } from '../../../model/shard-tensors.js';
import { openTestEngine } from '../../support/engines.js';
import { wholeModelLogits } from '../../support/logits.js';
import { relativeError } from '../../support/relative-error.js';
import { tinyModel, type Changes } from '../../support/tiny-model.js';

const text = Array.from({ length: 200 }, (_, i) => (i * 53 + 7) % 300);

const factors: Changes = {
  tensors: [
    [
      ropeFactorsTensor,
      { name: ropeFactorsTensor, type: tensorTypeNamed('f32'), shape: [16], bytes: 64 },
    ],
  ],
  read: () => new Uint8Array(Float32Array.from({ length: 16 }, (_, i) => 1 + i / 4).buffer),
};

const scaling = (family: string, type: string): Changes => ({
  metadata: [
    [`${family}.rope.scaling.type`, type],
    [`${family}.rope.scaling.factor`, 4],
    [`${family}.rope.scaling.original_context_length`, 64],
  ],
});

test.each([
  ['llama', 'neighbouring features', {}],
  ['qwen3', 'halves', {}],
  ['qwen3', 'linear scaling', scaling('qwen3', 'linear')],
  ['qwen3', 'YaRN', scaling('qwen3', 'yarn')],
  ['llama', 'factors', factors],
  ['llama', 'a part of a head', { metadata: [['llama.rope.dimension_count', 16]] }],
  ['qwen2', 'a part of a head', { metadata: [['qwen2.rope.dimension_count', 16]] }],
] as const)('rotary embedding of %s with %s is that of ggml', async (architecture, _, changes) => {
  const source = tinyModel('f32', changes, { architecture });
  const ours = await wholeModelLogits(openTestEngine('onnx'), source, text);
  const theirs = await wholeModelLogits(openTestEngine('ggml'), source, text);
  expect(relativeError(ours, theirs)).toBeLessThan(5e-3);
  if (Object.keys(changes).length === 0) return;
  const plain = await wholeModelLogits(
    openTestEngine('onnx'),
    tinyModel('f32', {}, { architecture }),
    text,
  );
  expect(relativeError(ours, plain)).toBeGreaterThan(0.02);
});
