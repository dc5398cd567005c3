import type { SyntheticShape } from './shape.js';
import { tinyShape } from './tiny-shapes.js';

const deltaNets = {
  'ssm.conv_kernel': 4,
  'ssm.inner_size': 128,
  'ssm.state_size': 32,
  'ssm.time_step_rank': 4,
  'ssm.group_count': 2,
  'rope.dimension_count': 16,
};

const axes = { 'rope.dimension_sections': [3, 3, 2, 0] };

const gatedExperts = {
  expert_count: 8,
  expert_used_count: 2,
  expert_feed_forward_length: 64,
  expert_shared_feed_forward_length: 32,
};

const convolutions = { 'attention.head_count_kv': [0, 0, 2, 0, 1], 'shortconv.l_cache': 3 };

/** Layers that keep a state and one that attends, with more heads of values than of keys. */
export const tinyHybrid: SyntheticShape = {
  ...tinyShape,
  architecture: 'qwen35',
  layers: 5,
  numbers: { ...deltaNets, ...axes },
};

/** Tiny models by name, one of every family with such layers. */
export const tinyHybrids: Readonly<Record<string, SyntheticShape>> = {
  'tiny-qwen35': tinyHybrid,
  'tiny-qwen35moe': {
    ...tinyHybrid,
    architecture: 'qwen35moe',
    numbers: { ...deltaNets, ...axes, ...gatedExperts },
  },
  'tiny-qwen3next': {
    ...tinyHybrid,
    architecture: 'qwen3next',
    numbers: { ...deltaNets, ...gatedExperts },
  },
  'tiny-lfm2': { ...tinyHybrid, architecture: 'lfm2', numbers: convolutions },
  'tiny-lfm2moe': {
    ...tinyHybrid,
    architecture: 'lfm2moe',
    numbers: {
      ...convolutions,
      expert_count: 8,
      expert_used_count: 2,
      expert_feed_forward_length: 64,
      expert_gating_func: 2,
      leading_dense_block_count: 1,
    },
  },
};
