import { checkModel } from '../../model/architectures/check-model.js';
import { tensorsOfShard } from '../../model/shard-tensors.js';
import type { StageMemory, StageSizes } from '../engine.js';
import { computeBytes, kvBytes, weightBytes } from '../shard-bytes.js';
import { estimatedBytes } from './kv/kv-type.js';
import { layOut, memoryBytesOf } from './weights/layout.js';

/** What a layer takes in the graph for steps of several segments. */
const crowdLayerBytes = 3e6;

/** Memory that a stage will take: weights and KV cache in the formats of this engine. @throws ModelError */
export function estimateOnnxMemory(stage: StageSizes): StageMemory {
  const { source, shard, kvType, conversations = 1 } = stage;
  const model = checkModel(source, shard);
  const tensors = tensorsOfShard(source.tensors, shard).filter(({ shape }) => shape.length >= 2);
  const growth = tensors.reduce(
    (sum, tensor) => sum + memoryBytesOf(layOut(tensor, '')) - tensor.bytes,
    0,
  );
  const crowdLayers = conversations > 1 ? shard.endLayer - shard.firstLayer : 0;
  return {
    weights: weightBytes(source, shard) + growth,
    kv: kvBytes(stage, model, { blockSize: 1, blockBytes: estimatedBytes(kvType) }),
    compute: computeBytes(stage, model) + crowdLayers * crowdLayerBytes,
  };
}
