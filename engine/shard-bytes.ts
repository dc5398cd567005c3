import type { Model } from '../model/architectures/model.js';
import {
  cellBytes,
  keptCells,
  layerMemory,
  type Layer,
  type Packing,
} from '../model/architectures/layer.js';
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
  { shard, cells, conversations = 1, states = conversations, maxStepRows }: StageSizes,
  { layers }: Model,
  keys: Packing,
  values: Packing,
): number {
  return layers
    .slice(shard.firstLayer, shard.endLayer)
    .map(layerMemory)
    .reduce(
      (sum, memory) =>
        sum +
        (memory.kind === 'cells'
          ? conversations *
            keptCells(memory.window, cells / conversations, maxStepRows) *
            cellBytes(memory, keys, values)
          : states * memory.bytes),
      0,
    );
}

/** Scratch memory: the widest moment of a layer for every row of the largest step, the mask, and the head's logits. */
export function computeBytes(
  { shard, cells, maxStepRows }: StageSizes,
  { sizes, layers }: Model,
): number {
  const own = layers.slice(shard.firstLayer, shard.endLayer);
  const widest = 3 * sizes.hiddenSize + Math.max(0, ...own.map(widestOf));
  const head = shard.head ? 16 * sizes.vocabulary * 4 : 0;
  // A state is read, changed and written, for as many sequences as steps usually have.
  const state = 3 * Math.max(0, ...own.map(stateBytes));
  return maxStepRows * (widest * 4 + cells * 2) + head + state;
}

function stateBytes(layer: Layer): number {
  const memory = layerMemory(layer);
  return memory.kind === 'state' ? memory.bytes : 0;
}

/** Numbers of a row that a layer's attention, or its feed-forward, has in memory at a time. */
function widestOf({ attention, feedForward }: Layer): number {
  const dense = 3 * feedForward.size * (feedForward.kind === 'moe' ? feedForward.chosen : 1);
  switch (attention.kind) {
    case 'gqa': {
      const { heads, kvHeads, keySize, valueSize } = attention;
      return Math.max(dense, (heads + kvHeads) * (keySize + valueSize));
    }
    case 'mla':
      return Math.max(dense, 2 * attention.heads * (attention.latentSize + attention.rotatedSize));
    case 'linear':
      return Math.max(dense, 4 * attention.convolved + 3 * attention.heads * attention.size);
  }
}
