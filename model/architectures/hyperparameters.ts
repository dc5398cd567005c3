import { ModelError, quoted } from '../errors.js';
import { isWithin, metadataNumberWithin, metadataStringOr, whole } from '../gguf/metadata.js';
import { embeddingTensor, headTensorName } from '../shard-tensors.js';
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

/** The sizes of a decoder, from GGUF metadata; those of heads and feed-forward are every layer's. */
export interface Hyperparameters {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  /** Divides `heads`. */
  readonly kvHeads: number;
  readonly headSize: number;
  readonly feedForwardSize: number;
  /** Number of token ids; 0 when neither the embedding nor the head is there to tell. */
  readonly vocabulary: number;
  readonly contextLength: number;
  readonly normEpsilon: number;
  readonly rope: RopeParameters;
}

const int32 = 2 ** 31 - 1;

/** What every number may be, after the family's name in its key. Native code takes these to be in order. */
const ranges = {
  block_count: whole(1, 1024),
  embedding_length: whole(1, 2 ** 20),
  feed_forward_length: whole(1, 2 ** 24),
  context_length: whole(1, int32),
  'attention.head_count': whole(1, 4096),
  'attention.head_count_kv': whole(1, 4096),
  'attention.key_length': whole(1, 4096),
  'attention.value_length': whole(1, 4096),
  'attention.layer_norm_rms_epsilon': { from: 1e-20, to: 1 },
  'rope.dimension_count': whole(2, 4096),
  'rope.freq_base': { from: 1, to: 1e12 },
  'rope.scaling.factor': { from: 1e-3, to: 1e6 },
  'rope.scaling.original_context_length': whole(1, int32),
} as const;

/** Rows of the embedding and of the head. */
const vocabularyRange = whole(1, 2 ** 24);

/** A number of the family by its name. @throws ModelError when it is missing or out of its range */
type Numbers = (name: keyof typeof ranges, fallback?: number) => number;

/**
 * Reads the sizes that every decoder family has.
 * @throws ModelError when one is missing, out of its range, or at odds with another
 */
export function readHyperparameters(
  { metadata, tensors }: Pick<TensorSource, 'metadata' | 'tensors'>,
  family: string,
  pairing: RopePairing,
): Hyperparameters {
  const number: Numbers = (name, fallback) =>
    metadataNumberWithin(metadata, `${family}.${name}`, ranges[name], fallback);
  const hiddenSize = number('embedding_length');
  const heads = number('attention.head_count');
  const kvHeads = number('attention.head_count_kv', heads);
  const headSize = number('attention.key_length', hiddenSize / heads);
  const valueSize = number('attention.value_length', headSize);
  if (heads % kvHeads !== 0)
    throw atOdds(`${heads} heads cannot share ${kvHeads} heads of keys and values`);
  if (valueSize !== headSize)
    throw new ModelError(
      'unsupported',
      `unsupported model: its heads have keys of ${headSize} and values of ${valueSize} features`,
    );
  return {
    layers: number('block_count'),
    hiddenSize,
    heads,
    kvHeads,
    headSize,
    feedForwardSize: number('feed_forward_length'),
    vocabulary: vocabularyOf(tensors),
    contextLength: number('context_length'),
    normEpsilon: number('attention.layer_norm_rms_epsilon'),
    rope: {
      pairing,
      ...readRope(number, headSize),
      ...readScaling(number, metadataStringOr(metadata, `${family}.rope.scaling.type`, 'linear')),
    },
  };
}

function readRope(number: Numbers, headSize: number): Pick<RopeParameters, 'dimensions' | 'base'> {
  const dimensions = number('rope.dimension_count', headSize);
  if (dimensions > headSize || dimensions % 2 !== 0)
    throw atOdds(`${dimensions} features of a head of ${headSize} cannot be rotated in pairs`);
  return { dimensions, base: number('rope.freq_base', 10_000) };
}

function readScaling(
  number: Numbers,
  type: string,
): Pick<RopeParameters, 'frequencyScale' | 'yarnFactor' | 'originalContext'> {
  if (!['none', 'linear', 'yarn'].includes(type))
    throw new ModelError(
      'unsupported',
      `unsupported rope scaling ${quoted(type)}: supported are none, linear, yarn`,
    );
  const factor = number('rope.scaling.factor', 1);
  return {
    frequencyScale: type === 'none' ? 1 : 1 / factor,
    yarnFactor: type === 'yarn' ? 1 : 0,
    originalContext: number('rope.scaling.original_context_length', number('context_length')),
  };
}

function vocabularyOf(tensors: TensorSource['tensors']): number {
  const table = tensors.get(embeddingTensor) ?? tensors.get(headTensorName);
  if (!table) return 0;
  const [, vocabulary = 0] = table.shape;
  if (!isWithin(vocabulary, vocabularyRange))
    throw atOdds(`tensor ${table.name} is not for 1 to ${vocabularyRange.to} tokens`);
  return vocabulary;
}

function atOdds(what: string): ModelError {
  return new ModelError('damaged', `the model's sizes make no sense: ${what}: the file is damaged`);
}
