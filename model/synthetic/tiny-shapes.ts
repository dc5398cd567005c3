import { tinyLatent } from './latent-shapes.js';
import type { SyntheticShape } from './shape.js';

/** Sizes of a model that loads in milliseconds. */
export const tinyShape: SyntheticShape = {
  architecture: 'qwen3',
  tied: true,
  layers: 3,
  hiddenSize: 128,
  heads: 4,
  kvHeads: 2,
  headSize: 32,
  feedForward: 256,
  vocabulary: 300,
};

const experts = { expert_count: 8, expert_used_count: 2, expert_feed_forward_length: 64 };

const leadingDense = { leading_dense_block_count: 1 };

const halfRotated = { 'rope.dimension_count': 16 };

/** Of random models that have few rows whose choice of experts rounding would decide. */
const seed = 1;

const withExperts: readonly (Partial<SyntheticShape> & Pick<SyntheticShape, 'architecture'>)[] = [
  {
    architecture: 'bailingmoe2',
    tied: false,
    numbers: {
      ...experts,
      ...leadingDense,
      ...halfRotated,
      expert_gating_func: 2,
      expert_weights_norm: true,
      expert_weights_scale: 2.5,
      expert_shared_count: 1,
      expert_group_count: 4,
      expert_group_used_count: 2,
    },
  },
  tinyLatent,
  {
    architecture: 'dots1',
    kvHeads: 4,
    tied: false,
    numbers: {
      ...experts,
      ...leadingDense,
      expert_gating_func: 2,
      expert_weights_norm: true,
      expert_weights_scale: 2.5,
      expert_shared_count: 2,
    },
  },
  {
    architecture: 'ernie4_5-moe',
    numbers: {
      ...experts,
      ...leadingDense,
      interleave_moe_layer_step: 1,
      expert_shared_feed_forward_length: 96,
    },
  },
  {
    architecture: 'glm4moe',
    tied: false,
    numbers: {
      ...experts,
      ...leadingDense,
      ...halfRotated,
      expert_weights_norm: true,
      expert_weights_scale: 1.5,
      expert_shared_count: 1,
    },
  },
  {
    architecture: 'gpt-oss',
    tied: false,
    numbers: {
      ...experts,
      expert_used_count: 4,
      'attention.sliding_window': 48,
      'rope.scaling.type': 'yarn',
      'rope.scaling.factor': 4,
      'rope.scaling.original_context_length': 100,
    },
  },
  {
    architecture: 'granitemoe',
    feedForward: 64,
    numbers: {
      ...experts,
      embedding_scale: 1.5,
      residual_scale: 0.7,
      logit_scale: 2,
      'attention.scale': 0.3,
      expert_shared_feed_forward_length: 96,
    },
  },
  {
    architecture: 'hunyuan-moe',
    seed: 2,
    feedForward: 64,
    numbers: { ...experts, expert_shared_feed_forward_length: 96 },
  },
  { architecture: 'llama', feedForward: 64, numbers: experts },
  {
    architecture: 'mimo2',
    ropeBase: 1e6,
    tied: false,
    layers: 4,
    numbers: {
      ...experts,
      'attention.head_count_kv': [1, 2, 2, 1],
      'attention.key_length': 96,
      'attention.value_length': 64,
      'attention.value_scale': 0.7,
      'attention.sliding_window': 48,
      'attention.sliding_window_pattern': [0, 1, 1, 0],
      'rope.dimension_count': 32,
    },
  },
  {
    architecture: 'minimax-m2',
    tied: false,
    feedForward: 64,
    numbers: { ...experts, ...halfRotated, expert_gating_func: 2 },
  },
  {
    architecture: 'qwen2moe',
    tied: false,
    numbers: { ...experts, expert_used_count: 4, expert_shared_feed_forward_length: 96 },
  },
  { architecture: 'qwen3moe', seed: 2, tied: false, numbers: experts },
  {
    architecture: 'step35',
    seed: 2,
    tied: false,
    layers: 4,
    numbers: {
      ...experts,
      expert_shared_feed_forward_length: 96,
      expert_weights_norm: true,
      expert_weights_scale: 2.5,
      'attention.head_count': [4, 6, 6, 4],
      'attention.head_count_kv': [2, 2, 2, 1],
      'attention.sliding_window': 48,
      'attention.sliding_window_pattern': [false, true, true, false],
      'rope.freq_base_swa': 500,
      swiglu_clamp_exp: [0, 0, 0.4, 0.2],
      swiglu_clamp_shexp: [0.1, 0, 0, 0.3],
    },
  },
];

/** Tiny models by name, one of every family with experts, with every kind of layer that it has. */
export const tinyShapes: Readonly<Record<string, SyntheticShape>> = Object.fromEntries(
  withExperts.map((shape) => [
    `tiny-${shape.architecture === 'llama' ? 'mixtral' : shape.architecture}`,
    { ...tinyShape, seed, ...shape },
  ]),
);
