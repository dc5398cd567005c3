import type { SyntheticShape } from './shape.js';

type Numbers = NonNullable<SyntheticShape['numbers']>;

/** What DeepSeek V3 and Kimi K2 share. */
const latent: Numbers = {
  'attention.q_lora_rank': 1536,
  'attention.kv_lora_rank': 512,
  'attention.value_length': 512,
  'attention.key_length_mla': 192,
  'attention.value_length_mla': 128,
  'rope.dimension_count': 64,
  'rope.scaling.type': 'yarn',
  'rope.scaling.original_context_length': 4096,
  'rope.scaling.yarn_log_multiplier': 0.1,
  expert_used_count: 8,
  expert_feed_forward_length: 2048,
  expert_shared_count: 1,
  expert_weights_norm: true,
  expert_gating_func: 2,
};

const sizes = {
  architecture: 'deepseek2',
  layers: 61,
  hiddenSize: 7168,
  kvHeads: 1,
  headSize: 576,
  feedForward: 18_432,
  tied: false,
} as const;

/** Models with latent attention. */
export const latentShapes: Readonly<Record<string, SyntheticShape>> = {
  'deepseek-v3': {
    ...sizes,
    heads: 128,
    vocabulary: 129_280,
    contextLength: 163_840,
    numbers: {
      ...latent,
      'rope.scaling.factor': 40,
      leading_dense_block_count: 3,
      expert_count: 256,
      expert_weights_scale: 2.5,
      expert_group_count: 8,
      expert_group_used_count: 4,
    },
  },
  'kimi-k2': {
    ...sizes,
    heads: 64,
    vocabulary: 163_840,
    ropeBase: 50_000,
    contextLength: 131_072,
    numbers: {
      ...latent,
      'rope.scaling.factor': 32,
      leading_dense_block_count: 1,
      expert_count: 384,
      expert_weights_scale: 2.827,
    },
  },
};

/** A tiny one with all that DeepSeek V3 has; of a latent vector and a rotated key 64 + 32 numbers are kept. */
export const tinyLatent = {
  architecture: 'deepseek2',
  tied: false,
  kvHeads: 1,
  seed: 6,
  numbers: {
    ...latent,
    'attention.q_lora_rank': 96,
    'attention.kv_lora_rank': 64,
    'attention.key_length': 96,
    'attention.value_length': 64,
    'attention.key_length_mla': 64,
    'attention.value_length_mla': 32,
    'rope.dimension_count': 32,
    'rope.scaling.factor': 4,
    'rope.scaling.original_context_length': 128,
    leading_dense_block_count: 1,
    expert_count: 8,
    expert_used_count: 3,
    expert_feed_forward_length: 64,
    expert_weights_scale: 2.5,
    expert_group_count: 4,
    expert_group_used_count: 2,
  },
} as const satisfies Partial<SyntheticShape>;
