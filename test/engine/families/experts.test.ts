import { describe, test } from 'vitest';
import type { MetadataValue } from '../../../model/tensor-source.js';
import { openTestEngine } from '../../support/engines.js';
import { expectLlamaCpp, type FamilyTrial } from '../../support/family.js';
import type { SyntheticShape } from '../../../model/synthetic/shape.js';
import { tinyShapes } from '../../../model/synthetic/tiny-shapes.js';

const ggml = openTestEngine('ggml');

/** Cuts between all layers of three or four. */
function splitsOf({ layers }: SyntheticShape): number[][] {
  return [[layers], [1, layers - 1], [2, layers - 2], [1, layers - 2, 1]];
}

describe.each([
  ['f32', 1e-3],
  ['q8_0', 3e-2],
] as const)('in %s', (type, bound) => {
  test.each(Object.values(tinyShapes))('$architecture', (shape) =>
    expectLlamaCpp(ggml, { shape, type, splits: splitsOf(shape), bound }),
  );
});

test('gpt-oss in mxfp4', () =>
  expectLlamaCpp(ggml, {
    shape: tinyShapes['tiny-gpt-oss']!,
    type: 'mxfp4',
    splits: [[3], [1, 1, 1]],
    bound: 3e-2,
  }));

/** A family's tiny model with other numbers, or other optional tensors. */
function variant(
  family: string,
  numbers: FamilyTrial['shape']['numbers'],
  optional?: RegExp,
): FamilyTrial['shape'] {
  const shape = tinyShapes[`tiny-${family}`]!;
  return {
    ...shape,
    numbers: { ...shape.numbers, ...numbers },
    ...(optional ? { optional } : {}),
  };
}

const yarn = {
  'rope.scaling.type': 'yarn',
  'rope.scaling.factor': 4,
  'rope.scaling.original_context_length': 100,
};

/** What step35 has of every layer, with that of one more. */
function appended(name: string, value: MetadataValue): Record<string, MetadataValue> {
  const listed = tinyShapes['tiny-step35']!.numbers![name] as MetadataValue[];
  return { [name]: [...listed, value] };
}

const variants: Readonly<Record<string, FamilyTrial['shape']>> = {
  'scales of weights': variant('mixtral', {}, /exps\.scale$/),
  'all experts': variant('mixtral', { expert_used_count: 8 }),
  'one expert': variant('granitemoe', { expert_used_count: 1 }),
  'no shared expert': variant('ernie4_5-moe', { expert_shared_feed_forward_length: 0 }),
  'norms of heads': variant('glm4moe', {}, /attn_[qk]_norm/),
  'softmax where others have a sigmoid': variant('glm4moe', { expert_gating_func: 1 }),
  'the softmax of the chosen': variant('glm4moe', { expert_gating_func: 3 }),
  'weights as they are': variant('bailingmoe2', { expert_weights_norm: false }),
  'scaled weights': variant('glm4moe', { expert_weights_scale: 0.5 }),
  'groups of experts': variant('qwen3moe', { expert_group_count: 4, expert_group_used_count: 2 }),
  'windows that rotate from another base': variant('gpt-oss', { 'rope.freq_base_swa': 500 }),
  'windows that rotate less': variant('step35', { 'rope.dimension_count_swa': 24 }),
  'windows that are not scaled': variant('step35', { ...yarn, 'rope.scaling.attn_factor': 0.8 }),
  'no limits of products': variant('step35', { swiglu_clamp_exp: 0, swiglu_clamp_shexp: 0 }),
  'a block that guesses': variant('step35', {
    block_count: 5,
    nextn_predict_layers: 1,
    ...appended('attention.head_count', 4),
    ...appended('attention.head_count_kv', 2),
    ...appended('attention.sliding_window_pattern', true),
    ...appended('swiglu_clamp_exp', 0),
    ...appended('swiglu_clamp_shexp', 0),
  }),
  'sinks in all layers': variant('mimo2', {}, /attn_sinks/),
  'values as they are': variant('mimo2', { 'attention.value_scale': 1 }),
  'longer keys in one matrix with values': variant('mimo2', yarn, /attn_qkv\.weight/),
};

test.each(Object.entries(variants))('%s', (_, shape) =>
  expectLlamaCpp(ggml, { shape, type: 'f32', splits: [[shape.layers ?? 3]], bound: 1e-3 }),
);

test('experts that are repacked part by part', () => {
  const shape = {
    architecture: 'qwen3moe',
    layers: 1,
    hiddenSize: 256,
    tied: false,
    numbers: { expert_count: 160, expert_used_count: 4, expert_feed_forward_length: 512 },
  };
  return expectLlamaCpp(ggml, { shape, type: 'q4_0', splits: [[1]], bound: 3e-2 });
});
