import { test } from 'vitest';
import type { SyntheticShape } from '../../../model/synthetic/shape.js';
import { openTestEngine } from '../../support/engines.js';
import { expectLlamaCpp } from '../../support/family.js';

const ggml = openTestEngine('ggml');

type Variant = Partial<SyntheticShape> & Pick<SyntheticShape, 'architecture'>;

const window = { 'attention.sliding_window': 48 };

const yarn = {
  'rope.scaling.type': 'yarn',
  'rope.scaling.factor': 4,
  'rope.scaling.original_context_length': 100,
};
/** Sizes for many layers, with heads that are not a part of the hidden size. */
const thin = { hiddenSize: 64, headSize: 32, feedForward: 64 };

const longrope = {
  'rope.scaling.type': 'longrope',
  'rope.scaling.original_context_length': 256,
};

const variants: Readonly<Record<string, Variant>> = {
  'llama with one matrix for q, k and v': { architecture: 'llama', optional: /attn_qkv\.weight/ },
  'llama with biases': {
    architecture: 'llama',
    optional: /^blk.*(attn_([qkv]|output)|ffn_.*)\.bias$/,
  },
  'llama with one matrix and biases': {
    architecture: 'llama',
    optional: /attn_(qkv\.(weight|bias)|output\.bias)$/,
  },
  'llama with scales of weights': { architecture: 'llama', optional: /\.scale$/ },
  'qwen2 with a bias of the head that is the embedding': {
    architecture: 'qwen2',
    optional: /^output\.bias/,
  },
  'qwen2 with one matrix': { architecture: 'qwen2', optional: /attn_qkv\.(weight|bias)/ },
  'qwen2 with a bias of the head': {
    architecture: 'qwen2',
    tied: false,
    optional: /^output\.bias/,
  },
  'qwen3 with one matrix and biases': {
    architecture: 'qwen3',
    optional: /attn_qkv\.(weight|bias)/,
  },
  'qwen3 with biases': { architecture: 'qwen3', optional: /attn_[qkv]\.bias$/ },
  'a rope factor without a type': { architecture: 'llama', numbers: { 'rope.scaling.factor': 4 } },
  'a linear rope factor by its old name': {
    architecture: 'llama',
    numbers: { 'rope.scale_linear': 4 },
  },
  'a rope factor that is not used': {
    architecture: 'llama',
    numbers: { 'rope.scaling.type': 'none', 'rope.scaling.factor': 4 },
  },
  'a magnitude of rotation': {
    architecture: 'llama',
    numbers: { 'rope.scaling.attn_factor': 0.8 },
  },
  YaRN: { architecture: 'qwen3', numbers: yarn },
  'YaRN with a magnitude': {
    architecture: 'llama',
    numbers: { ...yarn, 'rope.scaling.attn_factor': 0.8 },
  },
  'YaRN that spreads positions': {
    architecture: 'qwen2',
    numbers: { ...yarn, 'rope.scaling.factor': 0.5 },
  },
  'YaRN with betas': {
    architecture: 'mistral3',
    numbers: { ...yarn, 'rope.scaling.yarn_beta_fast': 16, 'rope.scaling.yarn_beta_slow': 2 },
  },
  'longrope of a llama': { architecture: 'llama', optional: /rope_factors_/, numbers: longrope },
  'longrope, short': {
    architecture: 'phi3',
    contextLength: 1024,
    numbers: { ...longrope, 'rope.scaling.original_context_length': 1024 },
  },
  'longrope of a phi3 that says so': { architecture: 'phi3', numbers: longrope },
  'phi3 with a window that is not used': { architecture: 'phi3', numbers: window },
  'olmo2 with a list of windows': {
    architecture: 'olmo2',
    tied: false,
    layers: 4,
    numbers: { ...window, 'attention.sliding_window_pattern': [true, true, true, false] },
  },
  'granite without rotation': {
    architecture: 'granite',
    numbers: { logit_scale: 2, 'rope.scaling.finetuned': false },
  },
  'minicpm of old': { architecture: 'minicpm' },
  'gemma3 without windows, capped': {
    architecture: 'gemma3',
    numbers: { final_logit_softcapping: 2 },
  },
  'gemma3 with windows, capped': {
    architecture: 'gemma3',
    layers: 6,
    numbers: { ...window, final_logit_softcapping: 2, 'rope.freq_base_swa': 500 },
  },
  'gemma3 with a pattern': {
    architecture: 'gemma3',
    numbers: { ...window, 'attention.sliding_window_pattern': 2 },
  },
  'gemma2 with a base of windows': {
    architecture: 'gemma2',
    numbers: { ...window, 'rope.freq_base_swa': 500 },
  },
  'gemma3 with scaled magnitude': {
    architecture: 'gemma3',
    numbers: {
      ...window,
      ...yarn,
      'rope.scaling.attn_factor': 1.5,
      'attention.sliding_window_pattern': 2,
    },
  },
  'gemma2 with a pattern': {
    architecture: 'gemma2',
    numbers: { ...window, 'attention.sliding_window_pattern': 3 },
  },
  'gemma2 with the layers of the largest': { architecture: 'gemma2', layers: 46, ...thin },
  'gemma3 with the layers of the largest': { architecture: 'gemma3', layers: 62, ...thin },
  'exaone4 with windows': {
    architecture: 'exaone4',
    layers: 64,
    ...thin,
    heads: 2,
    numbers: window,
  },
  'exaone4 with a window that is not used': { architecture: 'exaone4', numbers: window },
  'olmo2 with windows and YaRN': {
    architecture: 'olmo2',
    tied: false,
    layers: 4,
    numbers: { ...window, ...yarn, 'rope.scaling.attn_factor': 0.8 },
  },
};

test.each(Object.entries(variants))('%s', (_, shape) =>
  expectLlamaCpp(ggml, { shape, type: 'f32', splits: [[shape.layers ?? 3]], bound: 1e-3 }),
);
