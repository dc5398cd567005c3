import { expect, test } from 'vitest';
import { checkModel } from '../../model/architectures/check-model.js';
import { ModelError } from '../../model/errors.js';
import { tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import type { MetadataValue } from '../../model/tensor-source.js';
import { syntheticShapes } from '../../model/synthetic/shapes.js';
import { tinyModel } from '../support/tiny-model.js';

const bools = [false, true, false];

/** Keys that llama.cpp goes by, or that make no sense. */
test.each<[family: string, key: string, value: MetadataValue, message: RegExp]>([
  ['cohere2', 'rope.dimension_count_swa', 16, /differs from that of layers without/],
  ['gemma2', 'attention.key_length_swa', 16, /differs from that of layers without/],
  ['gemma2', 'attention.sliding_window_pattern', bools, /not 1 layers with a window to one/],
  ['gemma3', 'attention.sliding_window_pattern', [1, 2], /is not true or false for each layer/],
  ['glm4', 'rope.dimension_sections', [4, 6, 6, 0], /tells positions of images/],
  ['granite', 'logit_scale', 0, /logits cannot be divided by 0/],
  ['lfm2', 'attention.head_count_kv', [0, 0, 3, 0, 1], /4 heads cannot share 3 heads/],
  ['lfm2', 'expert_count', 8, /experts are for lfm2moe/],
  ['lfm2', 'shortconv.l_cache', 1, /is 1, not a whole number from 2/],
  ['llama', 'attention.causal', false, /is false/],
  ['llama', 'rope.scaling.yarn_beta_fast', 8, /is 8/],
  ['mimo2', 'attention.sliding_window', 0, /no window, or no list of which of 4 layers/],
  ['mimo2', 'rope.dimension_count_swa', 16, /differs from that of layers without/],
  ['qwen3', 'rope.scaling.yarn_beta_slow', 4, /is 4/],
  ['mistral3', 'rope.scaling.yarn_beta_slow', 0, /is 0, not from/],
  ['step35', 'attention.head_count', [4, 5, 6, 4], /5 heads cannot share 2 heads/],
  ['step35', 'attention.key_length_swa', 16, /differs from that of layers without/],
  ['step35', 'attention.sliding_window_pattern', [true], /no list of which of 4 layers/],
  ['step35', 'rope.dimension_count', 30, /15 or 30 features of a head of 32 cannot be rotated/],
])('of %s: %s %j is refused', (architecture, key, value, message) => {
  const shape = syntheticShapes[`tiny-${architecture}`];
  const model = tinyModel('f32', { metadata: [[`${architecture}.${key}`, value]] }, shape);
  expect(() => checkModel(model)).toThrow(ModelError);
  expect(() => checkModel(model)).toThrow(message);
});

test.each(['blk.0.attn_q.bias', 'blk.0.attn_qkv.weight'])('of olmo2: %s is refused', (name) => {
  const tensor = { name, type: tensorTypeNamed('f32'), shape: [128], bytes: 512 };
  const model = tinyModel('f32', { tensors: [[name, tensor]] }, { architecture: 'olmo2' });
  expect(() => checkModel(model)).toThrow(`"${name}" is not part of the olmo2 family`);
});

test('of gemma2: rotation that is scaled in some layers only is refused', () => {
  const metadata = [
    ['gemma2.rope.scaling.type', 'none'],
    ['gemma2.rope.scaling.factor', 4],
  ] as const;
  const model = tinyModel('f32', { metadata }, { architecture: 'gemma2' });
  expect(() => checkModel(model)).toThrow(/"gemma2.rope.scaling.type" is none/);
});
