import { checkModel } from '../../model/architectures/check-model.js';
import { tensorsOfShard } from '../../model/shard-tensors.js';
import type { StageMemory, StageSizes } from '../engine.js';
import { uniformSizes } from './uniform-sizes.js';
import { computeBytes, kvBytes, weightBytes } from '../shard-bytes.js';
import { estimatedBytes, storageBytes } from './kv/kv-type.js';
import { layOut, memoryBytesOf } from './weights/layout.js';

/** What a layer takes in a graph beside the first, such as that for steps of several segments. */
const furtherLayerBytes = 3e6;

/** Bytes of a key's or value's number while blocks attend to it: cut out of the cells, as f32, and as attention keeps it. */
const windowBytes = storageBytes.int8 + 2 * storageBytes.f32;

/** Memory that a stage will take: weights and KV cache in the formats of this engine. @throws ModelError */
export function estimateOnnxMemory(stage: StageSizes): StageMemory {
  const { source, shard, kvType, conversations = 1 } = stage;
  const model = checkModel(source, shard);
  const tensors = tensorsOfShard(source.tensors, shard).filter(({ shape }) => shape.length >= 2);
  const growth = tensors.reduce(
    (sum, tensor) => sum + memoryBytesOf(layOut(tensor, '')) - tensor.bytes,
    0,
  );
  const layers = shard.endLayer - shard.firstLayer;
  const isInt8 = estimatedBytes(kvType) === storageBytes.int8;
  const furtherGraphs = (conversations > 1 ? 1 : 0) + (isInt8 ? 1 : 0);
  const { kvHeads, headSize } = uniformSizes(model);
  // Of one layer and conversation at a time, keys and values.
  const window = isInt8 ? (2 * stage.cells * kvHeads * headSize * windowBytes) / conversations : 0;
  const kept = { blockSize: 1, blockBytes: estimatedBytes(kvType) };
  return {
    weights: weightBytes(source, shard) + growth,
    kv: kvBytes(stage, model, kept, kept),
    compute: computeBytes(stage, model) + furtherGraphs * layers * furtherLayerBytes + window,
  };
}
