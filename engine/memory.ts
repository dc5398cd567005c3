import type { Hyperparameters } from '../model/architectures/hyperparameters.js';
import { embeddingTensor, headTensor, tensorsOfShard, type Shard } from '../model/shard.js';
import { tensorTypeNamed } from '../model/gguf/tensor-types.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { KvType, StageMemory, StageOptions } from './engine.js';

/** Memory that a stage will take, from its tensors and sizes alone. */
export function estimateStageMemory(
  options: Omit<StageOptions, 'onProgress'>,
  sizes: Hyperparameters,
): StageMemory {
  const { source, shard, cells, kvType, maxBatchTokens } = options;
  const layers = shard.endLayer - shard.firstLayer;
  return {
    weights: weightBytes(source, shard),
    kv: layers * cells * kvBytesPerCell(sizes, kvType),
    compute: computeBytes(source, sizes, shard, cells, maxBatchTokens),
  };
}

/** A tied embedding is there twice on a shard with both ends: as a table and as the head's matrix. */
function weightBytes({ tensors }: TensorSource, shard: Shard): number {
  const bytes = tensorsOfShard(tensors, shard).reduce((sum, tensor) => sum + tensor.bytes, 0);
  const tied = shard.embedding && shard.head && headTensor(tensors) === embeddingTensor;
  return bytes + (tied ? (tensors.get(embeddingTensor)?.bytes ?? 0) : 0);
}

/** Keys and values of one cell in one layer. */
function kvBytesPerCell(sizes: Hyperparameters, kvType: KvType): number {
  const { blockSize, blockBytes } = tensorTypeNamed(kvType);
  return (2 * sizes.kvHeads * sizes.headSize * blockBytes) / blockSize;
}

/** The widest moment of a layer for every token of the batch, the mask, and the head's logits. */
function computeBytes(
  { tensors }: TensorSource,
  sizes: Hyperparameters,
  shard: Shard,
  cells: number,
  tokens: number,
): number {
  const feedForward =
    tensors.get(`blk.${shard.firstLayer}.ffn_up.weight`)?.shape[1] ?? 4 * sizes.hiddenSize;
  const attention = (2 * sizes.heads + 2 * sizes.kvHeads) * sizes.headSize;
  const widest = 3 * sizes.hiddenSize + Math.max(3 * feedForward, attention);
  const head = shard.head ? 16 * sizes.vocabulary * 4 : 0;
  return tokens * (widest * 4 + cells * 2) + head;
}
