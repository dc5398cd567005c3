import type { SyntheticShape } from './shape.js';
import { tinyShape } from './tiny-shapes.js';

/** Shorter than a prompt of some length. */
const window = { 'attention.sliding_window': 48 };

const scales = { embedding_scale: 1.5, residual_scale: 0.7, logit_scale: 2 };

const yarn = {
  'rope.scaling.type': 'yarn',
  'rope.scaling.factor': 4,
  'rope.scaling.original_context_length': 100,
};

const shapes: readonly (Partial<SyntheticShape> & Pick<SyntheticShape, 'architecture'>)[] = [
  {
    architecture: 'cohere2',
    layers: 4,
    numbers: { ...window, 'attention.layer_norm_epsilon': 1e-5, logit_scale: 0.25 },
  },
  { architecture: 'exaone4' },
  {
    architecture: 'gemma2',
    numbers: { ...window, attn_logit_softcapping: 0.5, final_logit_softcapping: 2 },
  },
  {
    architecture: 'gemma3',
    layers: 6,
    ropeBase: 1e6,
    numbers: { ...window, 'rope.scaling.factor': 8 },
  },
  { architecture: 'glm4', numbers: { 'rope.dimension_count': 16 } },
  { architecture: 'granite', numbers: { ...scales, 'attention.scale': 0.3 } },
  { architecture: 'llama', tied: false, optional: /rope_freqs/ },
  { architecture: 'minicpm', numbers: scales },
  {
    architecture: 'mistral3',
    headSize: 64,
    numbers: { ...yarn, 'rope.scaling.yarn_log_multiplier': 1, 'attention.temperature_scale': 0.1 },
  },
  { architecture: 'olmo2', tied: false },
  {
    architecture: 'phi3',
    numbers: {
      'rope.dimension_count': 24,
      'rope.scaling.original_context_length': 256,
      'rope.scaling.attn_factor': 1.19,
    },
  },
  { architecture: 'qwen2' },
  { architecture: 'qwen3' },
  { architecture: 'seed_oss' },
  { architecture: 'smollm3', layers: 4 },
];

/** Tiny models by name, one of every plain decoder, with every kind of layer that it has. */
export const plainShapes: Readonly<Record<string, SyntheticShape>> = Object.fromEntries(
  shapes.map((shape) => [`tiny-${shape.architecture}`, { ...tinyShape, ...shape }]),
);
