import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import { tensorsOfShard } from '../../model/shard.js';
import type { StageMemory, StageOptions } from '../engine.js';
import { estimateStageMemory } from '../memory.js';
import { estimatedBytes } from './kv-type.js';
import { layOut, memoryBytesOf } from './weights/layout.js';

/** Memory that a stage will take: what ggml's would, with weights and KV cache of this engine's formats. */
export function estimateOnnxMemory(
  options: Omit<StageOptions, 'onProgress'>,
  sizes: Hyperparameters,
): StageMemory {
  const { source, shard, cells, kvType } = options;
  const estimate = estimateStageMemory(options, sizes);
  const tensors = tensorsOfShard(source.tensors, shard).filter(({ shape }) => shape.length >= 2);
  const growth = tensors.reduce(
    (sum, tensor) => sum + memoryBytesOf(layOut(tensor, '')) - tensor.bytes,
    0,
  );
  const layers = shard.endLayer - shard.firstLayer;
  return {
    weights: estimate.weights + growth,
    kv: 2 * layers * cells * sizes.kvHeads * sizes.headSize * estimatedBytes(kvType),
    compute: estimate.compute,
  };
}
