import { checkModel } from '../../model/architectures/check-model.js';
import type { Model } from '../../model/architectures/model.js';
import { tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import { fewRows } from '../../step/tiles.js';
import type { Device, StageMemory, StageSizes } from '../engine.js';
import { computeBytes, kvBytes, weightBytes } from '../shard-bytes.js';
import { cellAttention } from './attention/attention.js';
import { productCells, productScratchBytes } from './attention/product-attention.js';

/**
 * Memory that a stage of ggml's will take, from its tensors and sizes alone.
 * @param device default: the CPU, which needs most
 * @throws ModelError
 */
export function estimateGgmlMemory(
  stage: StageSizes,
  device: Pick<Device, 'kind'> = { kind: 'cpu' },
): StageMemory {
  const { source, shard, kvType } = stage;
  const model = checkModel(source, shard);
  const keys = tensorTypeNamed(kvType);
  const weights = weightBytes(source, shard);
  const compute = computeBytes(stage, model) + inputBytes(stage, model);
  if (device.kind !== 'cpu') return { weights, kv: kvBytes(stage, model, keys, keys), compute };
  const onCpu = { ...stage, cells: productCells(stage.cells) };
  const scratch = model.layers.slice(shard.firstLayer, shard.endLayer).map(({ attention }) => {
    const ofCells = cellAttention(attention);
    return ofCells ? productScratchBytes(onCpu, ofCells) : 0;
  });
  return {
    weights,
    kv: kvBytes(onCpu, model, keys, tensorTypeNamed('f16')),
    compute: compute + Math.max(0, ...scratch),
  };
}

/** What stays in memory while steps are computed: a long one's hidden states, and those and the mask of a short one. */
function inputBytes({ cells, maxStepRows }: StageSizes, { sizes }: Model): number {
  return 4 * sizes.hiddenSize * (maxStepRows + fewRows) + 2 * cells * fewRows;
}
