import type { Architecture } from './architecture.js';
import { decoderLayer } from './decoder.js';
import { readHyperparameters } from './hyperparameters.js';

/** Qwen 3 (dense): every head of q and k is normalised. */
export const qwen3: Architecture = {
  name: 'qwen3',
  hyperparameters: (source) => readHyperparameters(source, 'qwen3', 'halves'),
  layer: (graph, sizes, index, hidden) =>
    decoderLayer(graph, sizes, index, hidden, { attentionBias: false, headNorms: true }),
};
