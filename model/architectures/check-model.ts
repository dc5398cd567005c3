import type { Shard } from '../../step/shard.js';
import { ModelError, quoted } from '../errors.js';
import { canMultiply, tensorBytes } from '../gguf/tensor-types.js';
import { headTensor, isOfShard } from '../shard-tensors.js';
import type { TensorInfo, TensorSource } from '../tensor-source.js';
import { checkVocabulary } from '../vocabulary.js';
import { readModel, type Model, type ModelSizes } from './model.js';
import type { ExpectedTensor } from './recorder.js';

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
): Model {
  const model = readModel(source);
  const { sizes, family, tensors: expected } = model;
  const needed = shard ?? { firstLayer: 0, endLayer: sizes.layers, embedding: true, head: true };
  checkShard(needed, sizes);
  for (const tensor of source.tensors.values())
    if (!isUnused(tensor.name, sizes))
      checkTensor(tensor, expected.get(tensor.name) ?? unknown(tensor, family));
  checkComplete(source, needed, expected);
  checkVocabulary(source);
  return model;
}

/** Blocks that guess tokens, and what is there for images: the text is the same without them. */
function isUnused(name: string, { layers, blocks }: ModelSizes): boolean {
  const block = Number(/^blk\.(\d+)\./.exec(name)?.[1]);
  return (block >= layers && block < blocks) || /^(v|mm)\./.test(name);
}

function checkShard({ firstLayer, endLayer }: Shard, { layers }: ModelSizes): void {
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

function checkTensor(
  { type, shape, bytes }: TensorInfo,
  { name, shape: wanted, use }: ExpectedTensor,
): void {
  // A matrix of one output may be stored as a vector.
  const [inputs, ...outputs] = wanted;
  const isVector = shape.length === 1 && outputs.length === 1 && outputs[0] === 1;
  const sizes = isVector ? [inputs] : wanted;
  const isAsWanted =
    shape.length === sizes.length && shape.every((size, axis) => size === sizes[axis]);
  if (!isAsWanted)
    throw damaged(`tensor ${name} is ${shown(shape)}, the model's sizes make it ${shown(wanted)}`);
  const isNumbers = use === 'numbers';
  if (isNumbers ? type.name !== 'f32' : !canMultiply(type))
    throw new ModelError(
      'unsupported',
      `unsupported quantization: tensor ${name} is ${type.name}, ${isNumbers ? 'vectors have to be f32' : 'which no matrix can be multiplied in'}: use another quantization of the model`,
    );
  if ((shape[0] ?? 0) % type.blockSize !== 0 || bytes !== tensorBytes(type, shape))
    throw damaged(`tensor ${name} of ${shown(shape)} cannot be ${bytes} bytes of ${type.name}`);
}

function checkComplete(
  { tensors }: Pick<TensorSource, 'tensors'>,
  shard: Shard,
  expected: ReadonlyMap<string, ExpectedTensor>,
): void {
  const head = headTensor(tensors);
  for (const name of expected.keys())
    if (isOfShard(name, shard, head) && !tensors.has(name))
      throw damaged(`the model has no tensor ${name}`);
}

function unknown({ name }: TensorInfo, family: string): never {
  throw new ModelError(
    'unsupported',
    `unsupported model: tensor ${quoted(name)} is not part of the ${family} family, and without it the answers would be wrong: use another model`,
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
