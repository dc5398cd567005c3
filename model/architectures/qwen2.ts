import type { Architecture } from './architecture.js';
import { decoderLayer } from './decoder.js';
import { readHyperparameters } from './hyperparameters.js';

/** Qwen 2 and 2.5: Llama with biases on q, k and v. */
export const qwen2: Architecture = {
  name: 'qwen2',
  hyperparameters: (source) => readHyperparameters(source, 'qwen2', 'halves'),
  layer: (graph, sizes, index, hidden) =>
    decoderLayer(graph, sizes, index, hidden, { attentionBias: true, headNorms: false }),
};
