import { ModelError } from '../errors.js';
import { latentShapes } from './latent-shapes.js';
import { tinyHybrids } from './hybrid-shapes.js';
import type { SyntheticShape } from './shape.js';
import { plainShapes } from './plain-shapes.js';
import { tinyShapes } from './tiny-shapes.js';

/** Shapes of well-known models. */
const known: Readonly<Record<string, SyntheticShape>> = {
  'qwen3-0.6b': {
    architecture: 'qwen3',
    layers: 28,
    hiddenSize: 1024,
    heads: 16,
    kvHeads: 8,
    headSize: 128,
    feedForward: 3072,
    vocabulary: 151_936,
    tied: true,
    ropeBase: 1_000_000,
  },
  'qwen3-4b': {
    architecture: 'qwen3',
    layers: 36,
    hiddenSize: 2560,
    heads: 32,
    kvHeads: 8,
    headSize: 128,
    feedForward: 9728,
    vocabulary: 151_936,
    tied: true,
    ropeBase: 1_000_000,
  },
  'llama-8b': {
    architecture: 'llama',
    layers: 32,
    hiddenSize: 4096,
    heads: 32,
    kvHeads: 8,
    headSize: 128,
    feedForward: 14_336,
    vocabulary: 128_256,
    tied: false,
    ropeBase: 500_000,
  },
  'qwen3-30b-a3b': {
    architecture: 'qwen3moe',
    layers: 48,
    hiddenSize: 2048,
    heads: 32,
    kvHeads: 4,
    headSize: 128,
    feedForward: 6144,
    vocabulary: 151_936,
    tied: false,
    ropeBase: 1_000_000,
    numbers: { expert_count: 128, expert_used_count: 8, expert_feed_forward_length: 768 },
  },
  'gpt-oss-20b': {
    architecture: 'gpt-oss',
    layers: 24,
    hiddenSize: 2880,
    heads: 64,
    kvHeads: 8,
    headSize: 64,
    feedForward: 2880,
    vocabulary: 201_088,
    tied: false,
    ropeBase: 150_000,
    contextLength: 131_072,
    numbers: {
      expert_count: 32,
      expert_used_count: 4,
      expert_feed_forward_length: 2880,
      'attention.sliding_window': 128,
      'rope.scaling.type': 'yarn',
      'rope.scaling.factor': 32,
      'rope.scaling.original_context_length': 4096,
    },
  },
  'glm-4.5-air': {
    architecture: 'glm4moe',
    layers: 46,
    hiddenSize: 4096,
    heads: 96,
    kvHeads: 8,
    headSize: 128,
    feedForward: 10_944,
    vocabulary: 151_552,
    tied: false,
    ropeBase: 1_000_000,
    contextLength: 131_072,
    numbers: {
      'rope.dimension_count': 64,
      leading_dense_block_count: 1,
      expert_count: 128,
      expert_used_count: 8,
      expert_feed_forward_length: 1408,
      expert_shared_count: 1,
      expert_weights_norm: true,
      expert_weights_scale: 1,
    },
  },
  'qwen3.5-35b-a3b': {
    architecture: 'qwen35moe',
    layers: 40,
    hiddenSize: 2048,
    heads: 16,
    kvHeads: 2,
    headSize: 256,
    feedForward: 512,
    vocabulary: 248_320,
    tied: false,
    ropeBase: 10_000_000,
    contextLength: 262_144,
    numbers: {
      'rope.dimension_count': 64,
      'rope.dimension_sections': [11, 11, 10, 0],
      'ssm.conv_kernel': 4,
      'ssm.inner_size': 4096,
      'ssm.state_size': 128,
      'ssm.time_step_rank': 32,
      'ssm.group_count': 16,
      expert_count: 256,
      expert_used_count: 8,
      expert_feed_forward_length: 512,
      expert_shared_feed_forward_length: 512,
    },
  },
};

/** All that have a name: well-known models, and tiny ones of families, `tiny-FAMILY`. */
export const syntheticShapes: Readonly<Record<string, SyntheticShape>> = {
  ...known,
  ...plainShapes,
  ...latentShapes,
  ...tinyShapes,
  ...tinyHybrids,
};

/**
 * A shape by its name.
 * @param layers to have, fewer than the model has; default: all
 * @throws ModelError when there is none of that name, or it has not so many layers
 */
export function syntheticShape(name: string, layers?: number): SyntheticShape {
  const shape = syntheticShapes[name];
  if (!shape)
    throw new ModelError(
      'unsupported',
      `unknown shape "${name}": known are ${Object.keys(syntheticShapes).join(', ')}`,
    );
  if (layers !== undefined && layers > shape.layers)
    throw new ModelError('unsupported', `${name} has ${shape.layers} layers: ask for fewer`);
  return layers === undefined ? shape : { ...shape, layers };
}
