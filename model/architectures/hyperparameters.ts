import { metadataNumber, metadataNumberOr, metadataStringOr } from '../gguf/metadata.js';
import { embeddingTensor } from '../shard.js';
import { ModelError } from '../errors.js';
import type { TensorSource } from '../tensor-source.js';

/** How rotary embedding pairs the features of a head: neighbours, or first half with second half. */
export type RopePairing = 'neighbours' | 'halves';

export interface RopeParameters {
  readonly pairing: RopePairing;
  /** Features of a head that are rotated. */
  readonly dimensions: number;
  readonly base: number;
  /** Positions are multiplied by this (linear scaling); 1 leaves them. */
  readonly frequencyScale: number;
  /** YaRN (arXiv 2309.00071): 1 blends interpolation and extrapolation, 0 is off. */
  readonly yarnFactor: number;
  /** Context length that the model was trained on before scaling. */
  readonly originalContext: number;
}

/** The sizes of a decoder, from GGUF metadata. */
export interface Hyperparameters {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** Number of token ids; 0 when neither the embedding nor the head is there to tell. */
  readonly vocabulary: number;
  readonly contextLength: number;
  readonly normEpsilon: number;
  readonly rope: RopeParameters;
}

/**
 * Reads the sizes that every decoder family has.
 * @throws ModelError when one is missing or makes no sense.
 */
export function readHyperparameters(
  { metadata, tensors }: Pick<TensorSource, 'metadata' | 'tensors'>,
  family: string,
  pairing: RopePairing,
): Hyperparameters {
  const key = (name: string) => `${family}.${name}`;
  const hiddenSize = metadataNumber(metadata, key('embedding_length'));
  const heads = metadataNumber(metadata, key('attention.head_count'));
  const kvHeads = metadataNumberOr(metadata, key('attention.head_count_kv'), heads);
  const headSize = metadataNumberOr(metadata, key('attention.key_length'), hiddenSize / heads);
  const contextLength = metadataNumber(metadata, key('context_length'));
  const vocabulary =
    tensors.get(embeddingTensor)?.shape[1] ?? tensors.get('output.weight')?.shape[1] ?? 0;
  if (!Number.isInteger(headSize) || heads % kvHeads !== 0)
    throw new ModelError(
      `the model's sizes do not fit together (hidden ${hiddenSize}, heads ${heads}, KV heads ${kvHeads}): the file is damaged`,
    );
  return {
    layers: metadataNumber(metadata, key('block_count')),
    hiddenSize,
    heads,
    kvHeads,
    headSize,
    vocabulary,
    contextLength,
    normEpsilon: metadataNumber(metadata, key('attention.layer_norm_rms_epsilon')),
    rope: {
      pairing,
      dimensions: metadataNumberOr(metadata, key('rope.dimension_count'), headSize),
      base: metadataNumberOr(metadata, key('rope.freq_base'), 10_000),
      ...readScaling(metadata, key, contextLength),
    },
  };
}

function readScaling(
  metadata: TensorSource['metadata'],
  key: (name: string) => string,
  contextLength: number,
): Pick<RopeParameters, 'frequencyScale' | 'yarnFactor' | 'originalContext'> {
  const type = metadataStringOr(metadata, key('rope.scaling.type'), 'none');
  const factor = metadataNumberOr(metadata, key('rope.scaling.factor'), 1);
  if (!['none', 'linear', 'yarn'].includes(type))
    throw new ModelError(`unsupported rope scaling "${type}": supported are none, linear, yarn`);
  return {
    frequencyScale: type === 'none' || factor === 0 ? 1 : 1 / factor,
    yarnFactor: type === 'yarn' ? 1 : 0,
    originalContext: metadataNumberOr(
      metadata,
      key('rope.scaling.original_context_length'),
      contextLength,
    ),
  };
}
