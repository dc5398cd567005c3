import { test } from 'vitest';
import type { SyntheticShape } from '../../../model/synthetic/shape.js';
import { tinyLatent } from '../../../model/synthetic/latent-shapes.js';
import { openTestEngine } from '../../support/engines.js';
import { expectLlamaCpp } from '../../support/family.js';

const ggml = openTestEngine('ggml');
const splits = [[3], [1, 2], [1, 1, 1]];

/** What V2 Lite has: softmax, weights as they are, two shared experts. */
const lite = {
  'attention.q_lora_rank': 0,
  expert_gating_func: 1,
  expert_group_count: 1,
  expert_weights_norm: false,
  expert_weights_scale: 1,
  expert_shared_count: 2,
};

const unscaled = { 'rope.scaling.type': 'none', 'rope.scaling.yarn_log_multiplier': 0 };

/** With seeds by which few experts are nearly as good as others: these make rounding loud. */
const variants: Record<string, { seed: number; numbers: SyntheticShape['numbers'] }> = {
  'what V2 Lite has': { seed: 4, numbers: lite },
  'YaRN as usual, and no experts': {
    seed: 2,
    numbers: { 'rope.scaling.yarn_log_multiplier': 0, leading_dense_block_count: 3 },
  },
  'queries that grow': {
    seed: 4,
    numbers: {
      ...unscaled,
      'attention.temperature_scale': 0.1,
      'attention.temperature_length': 100,
    },
  },
  'experts in all layers, without groups': {
    seed: 4,
    numbers: { ...unscaled, leading_dense_block_count: 0, expert_group_count: 1 },
  },
};

test.each(
  Object.entries(variants).flatMap(([name, variant]) => [
    { name, ...variant, type: 'f32', bound: 1e-3 },
    { name, ...variant, type: 'q8_0', bound: 3e-2 },
  ]),
)('deepseek2 in $type with $name', ({ seed, numbers, type, bound }) => {
  const shape = { ...tinyLatent, seed, numbers: { ...tinyLatent.numbers, ...numbers } };
  return expectLlamaCpp(ggml, { shape, type, splits, bound });
});
