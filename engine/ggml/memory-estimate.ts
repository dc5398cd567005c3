import { checkModel } from '../../model/architectures/check-model.js';
import { tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import type { StageMemory, StageSizes } from '../engine.js';
import { computeBytes, kvBytes, weightBytes } from '../shard-bytes.js';

/** Memory that a stage of ggml's will take, from its tensors and sizes alone. @throws ModelError */
export function estimateGgmlMemory(stage: StageSizes): StageMemory {
  const { source, shard, kvType } = stage;
  const model = checkModel(source, shard);
  return {
    weights: weightBytes(source, shard),
    kv: kvBytes(stage, model, tensorTypeNamed(kvType)),
    compute: computeBytes(stage, model),
  };
}
