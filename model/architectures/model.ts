import { ModelError } from '../errors.js';
import { isWithin, whole } from '../gguf/metadata.js';
import { embeddingTensor, headTensorName } from '../shard-tensors.js';
import type { TensorSource } from '../tensor-source.js';
import type { Decoder, DecoderSizes, Family } from './family.js';
import { FamilyNumbers } from './family-numbers.js';
import type { Layer } from './layer.js';
import { Recorder, type ExpectedTensor } from './recorder.js';
import { familyOf } from './registry.js';
import type { RopeParameters } from './rope.js';

/** The sizes of a model as a whole. */
export interface ModelSizes extends DecoderSizes {
  /** Number of token ids; 0 when neither the embedding nor the head is there to tell. */
  readonly vocabulary: number;
}

/** What a file or a message says of a model. */
export interface Model {
  /** Value of `general.architecture`. */
  readonly family: string;
  readonly sizes: ModelSizes;
  readonly decoder: Decoder;
  /** What every layer is, in their order. */
  readonly layers: readonly Layer[];
  /** All tensors that it has, by name. With others it would compute otherwise. */
  readonly tensors: ReadonlyMap<string, ExpectedTensor>;
  /** Ops that it is written in, and what of them not every engine has. */
  readonly features: ReadonlySet<string>;
  /** How positions are told, in some layers or all. */
  readonly ropes: readonly RopeParameters[];
}

/** Rows of the embedding and of the head. */
const vocabularyRange = whole(1, 2 ** 24);

/**
 * Reads what a model is, from its metadata and the names of its tensors.
 * @throws ModelError when its family is unknown, or a number is missing, out of its range, or at odds with another
 */
export function readModel({
  metadata,
  tensors,
}: Pick<TensorSource, 'metadata' | 'tensors'>): Model {
  const vocabulary = vocabularyOf(tensors);
  return describeModel(metadata, (name) => tensors.has(name), vocabulary);
}

/** The sizes alone. @throws ModelError */
export function readModelSizes(source: Pick<TensorSource, 'metadata' | 'tensors'>): ModelSizes {
  const { decoder } = openFamily(source.metadata);
  return sizesOf(decoder, vocabularyOf(source.tensors));
}

/**
 * @param has whether the model has a tensor that not all models of the family have
 * @throws ModelError as `readModel` does
 */
export function describeModel(
  metadata: TensorSource['metadata'],
  has: (tensor: string) => boolean,
  vocabulary: number,
): Model {
  const { family, numbers, decoder } = openFamily(metadata);
  numbers.refuseUnread();
  const isKnown = (tensor: string) => family.lacks?.test(tensor) !== true;
  const recorder = new Recorder((tensor) => isKnown(tensor) && has(tensor), vocabulary);
  const { hiddenSize: size } = decoder;
  recorder.tensors.set(embeddingTensor, {
    name: embeddingTensor,
    shape: [size, vocabulary],
    use: 'matrix',
  });
  const layers = Array.from({ length: decoder.layers }, (_, index) => {
    decoder.layer(recorder, index, { size });
    return recorder.takeLayer();
  });
  decoder.head(recorder, { size });
  const { tensors, features } = recorder;
  const sizes = sizesOf(decoder, vocabulary);
  const ropes = [...recorder.ropes];
  return { family: family.name, sizes, decoder, layers, tensors, features, ropes };
}

function openFamily(metadata: TensorSource['metadata']): {
  readonly family: Family;
  readonly numbers: FamilyNumbers;
  readonly decoder: Decoder;
} {
  const family = familyOf(metadata);
  const numbers = new FamilyNumbers(metadata, family.name);
  return { family, numbers, decoder: family.open(numbers) };
}

function sizesOf(
  { layers, blocks, hiddenSize, contextLength }: Decoder,
  vocabulary: number,
): ModelSizes {
  return { layers, blocks, hiddenSize, contextLength, vocabulary };
}

function vocabularyOf(tensors: TensorSource['tensors']): number {
  const table = tensors.get(embeddingTensor) ?? tensors.get(headTensorName);
  if (!table) return 0;
  const [, vocabulary = 0] = table.shape;
  if (!isWithin(vocabulary, vocabularyRange))
    throw new ModelError(
      'damaged',
      `the model's sizes make no sense: tensor ${table.name} is not for 1 to ${vocabularyRange.to} tokens: the file is damaged`,
    );
  return vocabulary;
}
