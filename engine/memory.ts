import type { EngineName, StageMemory, StageSizes } from './engine.js';
import { estimateGgmlMemory } from './ggml/memory-estimate.js';
import { estimateOnnxMemory } from './onnx/memory-estimate.js';

const estimates: Readonly<Record<EngineName, (sizes: StageSizes) => StageMemory>> = {
  ggml: estimateGgmlMemory,
  onnx: estimateOnnxMemory,
};

/**
 * Memory that a stage will take with an engine, which need not be installed here: a coordinator plans for workers of
 * any.
 * @throws ModelError when the model's sizes make no sense
 */
export function estimateStageMemory(engine: EngineName, sizes: StageSizes): StageMemory {
  return estimates[engine](sizes);
}
