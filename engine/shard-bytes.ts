import type { CheckedModel } from '../model/architectures/check-model.js';
import { cellBytes, layerMemory, type Packing } from '../model/architectures/layer.js';
import { embeddingTensor, hasTiedHead, tensorsOfShard } from '../model/shard-tensors.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Shard } from '../step/shard.js';
import type { StageSizes } from './engine.js';

/** A shard's weights as the model file has them, a tied embedding twice where both ends need it. */
export function weightBytes({ tensors }: Pick<TensorSource, 'tensors'>, shard: Shard): number {
  const bytes = tensorsOfShard(tensors, shard).reduce((sum, tensor) => sum + tensor.bytes, 0);
  const isTwice = shard.embedding && hasTiedHead(tensors, shard);
  return bytes + (isTwice ? (tensors.get(embeddingTensor)?.bytes ?? 0) : 0);
}

/** What a shard's layers keep of all texts. @param keys how keys are kept @param values how values are */
export function kvBytes(
  { shard, cells, conversations = 1 }: StageSizes,
  { architecture, sizes }: CheckedModel,
  keys: Packing,
  values: Packing,
): number {
  return architecture
    .layers(sizes)
    .slice(shard.firstLayer, shard.endLayer)
    .map(layerMemory)
    .reduce(
      (sum, memory) =>
        sum +
        (memory.kind === 'cells'
          ? cells * cellBytes(memory, keys, values)
          : conversations * memory.bytes),
      0,
    );
}

/** Scratch memory: the widest moment of a layer for every row of the largest step, the mask, and the head's logits. */
export function computeBytes(
  { shard, cells, maxStepRows }: StageSizes,
  { sizes }: CheckedModel,
): number {
  const attention = (2 * sizes.heads + 2 * sizes.kvHeads) * sizes.headSize;
  const widest = 3 * sizes.hiddenSize + Math.max(3 * sizes.feedForwardSize, attention);
  const head = shard.head ? 16 * sizes.vocabulary * 4 : 0;
  return maxStepRows * (widest * 4 + cells * 2) + head;
}
