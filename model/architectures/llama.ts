import type { Architecture } from './architecture.js';
import { decoderLayer } from './decoder.js';
import { readHyperparameters } from './hyperparameters.js';

/** Llama 1 to 3 and what shares its shape, such as Mistral. */
export const llama: Architecture = {
  name: 'llama',
  hyperparameters: (source) => readHyperparameters(source, 'llama', 'neighbours'),
  layer: (graph, sizes, index, hidden) =>
    decoderLayer(graph, sizes, index, hidden, { attentionBias: false, headNorms: false }),
};
