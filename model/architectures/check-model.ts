import type { Shard } from '../../step/shard.js';
import { ModelError, quoted } from '../errors.js';
import { canMultiply, tensorBytes } from '../gguf/tensor-types.js';
import { headTensor, isOfShard } from '../shard-tensors.js';
import type { TensorInfo, TensorSource } from '../tensor-source.js';
import { checkVocabulary } from '../vocabulary.js';
import type { Architecture, ExpectedTensor } from './architecture.js';
import type { Hyperparameters } from './hyperparameters.js';
import { architectureOf } from './registry.js';

/** A model that is in order. */
export interface CheckedModel {
  readonly architecture: Architecture;
  readonly sizes: Hyperparameters;
}

/**
 * Checks all that native code takes for granted: numbers, shapes and types of tensors, that none is missing or unknown,
 * and the vocabulary, where one is there. Native libraries end the process over what is not in order, so call this before anything of a model reaches
 * one, and before memory is estimated or allocated: whoever opens a file, engines before they load, and workers for what
 * came over the network.
 * @param shard whose tensors have to be there; default: the whole model
 * @throws ModelError that names the number or tensor, what was expected and what is there
 */
export function checkModel(
  source: Pick<TensorSource, 'metadata' | 'tensors'>,
  shard?: Shard,
): CheckedModel {
  const architecture = architectureOf(source);
  const sizes = architecture.hyperparameters(source);
  const needed = shard ?? { firstLayer: 0, endLayer: sizes.layers, embedding: true, head: true };
  checkShard(needed, sizes);
  const expected = architecture.tensors(sizes);
  const byName = new Map(expected.map((tensor) => [tensor.name, tensor]));
  for (const tensor of source.tensors.values())
    checkTensor(tensor, byName.get(tensor.name) ?? unknown(tensor, architecture));
  checkComplete(source, needed, expected);
  checkVocabulary(source);
  return { architecture, sizes };
}

function checkShard({ firstLayer, endLayer }: Shard, { layers }: Hyperparameters): void {
  const isRange =
    Number.isInteger(firstLayer) &&
    Number.isInteger(endLayer) &&
    firstLayer >= 0 &&
    firstLayer < endLayer &&
    endLayer <= layers;
  if (!isRange)
    throw new ModelError(
      'damaged',
      `layers ${firstLayer} to ${endLayer} are no part of a model of ${layers}: the file or the message is damaged`,
    );
}

function checkTensor({ type, shape, bytes }: TensorInfo, { name, shape: wanted }: ExpectedTensor) {
  const isAsWanted =
    shape.length === wanted.length && shape.every((size, axis) => size === wanted[axis]);
  if (!isAsWanted)
    throw damaged(`tensor ${name} is ${shown(shape)}, the model's sizes make it ${shown(wanted)}`);
  const isVector = wanted.length === 1;
  if (isVector ? type.name !== 'f32' : !canMultiply(type))
    throw new ModelError(
      'unsupported',
      `unsupported quantization: tensor ${name} is ${type.name}, ${isVector ? 'vectors have to be f32' : 'which no matrix can be multiplied in'}: use another quantization of the model`,
    );
  if ((shape[0] ?? 0) % type.blockSize !== 0 || bytes !== tensorBytes(type, shape))
    throw damaged(`tensor ${name} of ${shown(shape)} cannot be ${bytes} bytes of ${type.name}`);
}

function checkComplete(
  { tensors }: Pick<TensorSource, 'tensors'>,
  shard: Shard,
  expected: readonly ExpectedTensor[],
): void {
  const head = headTensor(tensors);
  for (const { name, isOptional = false } of expected)
    if (!isOptional && isOfShard(name, shard, head) && !tensors.has(name))
      throw damaged(`the model has no tensor ${name}`);
}

function unknown({ name }: TensorInfo, architecture: Architecture): never {
  throw new ModelError(
    'unsupported',
    `unsupported model: tensor ${quoted(name)} is not part of the ${architecture.name} family, and without it the answers would be wrong: use another model`,
  );
}

function damaged(what: string): ModelError {
  return new ModelError('damaged', `${what}: the file is damaged`);
}

/** Shapes from the network can be of any length. */
function shown(shape: readonly number[]): string {
  return shape.length === 0
    ? 'one number'
    : shape.slice(0, 4).join(' × ') + (shape.length > 4 ? ' × …' : '');
}
