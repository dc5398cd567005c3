import { calibrationSegments } from '../coord/kv-calibration.js';
import type { Engine, Stage, StageOptions } from '../engine/engine.js';
import { readModelSizes } from '../model/architectures/model.js';

/**
 * Loads a model as one stage that is ready to compute.
 * @param calibrationText token ids, asked for when keys and values have to be calibrated
 * @throws ModelError, EngineError
 */
export async function loadWholeModel(
  engine: Engine,
  options: Omit<StageOptions, 'shard'>,
  calibrationText: () => Int32Array,
): Promise<Stage> {
  const { source, cells, maxStepRows } = options;
  const { layers } = readModelSizes(source);
  const shard = { firstLayer: 0, endLayer: layers, embedding: true, head: true };
  const stage = await engine.load({ ...options, shard });
  if (stage.kvType !== 'int8') return stage;
  const nothing = new Float32Array(0);
  const range = { start: 0, length: cells };
  for (const segment of calibrationSegments(calibrationText(), range, maxStepRows)) {
    const step = { id: 1, epoch: 1, segments: [segment], calibratesKv: true };
    await stage.forward(step, nothing, nothing);
  }
  return stage;
}
