import { calibrationSteps } from '../../coord/kv-calibration.js';
import { causalBatch } from '../../coord/step-builder.js';
import {
  greedy,
  type Batch,
  type Engine,
  type KvType,
  type Sampling,
  type Stage,
} from '../../engine/engine.js';
import { splitLayers } from '../../coord/plan.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { testCalibrationText } from './calibration.js';

/** Loads a model as several stages in this process, ready to compute. */
export async function loadStages(
  engine: Engine,
  source: TensorSource,
  layers: readonly number[],
  cells = 512,
  kvType: KvType = 'f16',
): Promise<Stage[]> {
  const candidates = layers.map((_, i) => ({
    name: `stage ${i}`,
    device: '',
    machine: '',
    freeBytes: 1,
  }));
  const total = layers.reduce((sum, count) => sum + count, 0);
  const shards = splitLayers(total, candidates, layers);
  const stages: Stage[] = [];
  for (const shard of shards)
    stages.push(await engine.load({ source, shard, cells, kvType, maxBatchTokens: 512 }));
  if (stages.some(({ kvType }) => kvType === 'int8')) await calibrate(stages, source, cells);
  return stages;
}

async function calibrate(
  stages: readonly Stage[],
  source: TensorSource,
  cells: number,
): Promise<void> {
  const range = { start: 0, length: cells };
  for (const step of calibrationSteps(testCalibrationText(source), range, cells))
    await forwardThrough(stages, step);
}

/** Passes a batch through all stages; `relay` stands for the links. */
export async function forwardThrough(
  stages: readonly Stage[],
  batch: Batch,
  relay: (hidden: Float32Array) => Float32Array = (hidden) => hidden,
): Promise<Int32Array> {
  let hidden: Float32Array = new Float32Array(0);
  for (const stage of stages) {
    const output = new Float32Array(batch.tokens.length * stage.hiddenSize);
    const tokens = await stage.forward(batch, hidden, output);
    if (stage.shard.head) return tokens;
    hidden = relay(output);
  }
  throw new Error('no stage has the head');
}

/** Continues a prompt token by token. */
export async function generate(
  stages: readonly Stage[],
  prompt: readonly number[],
  count: number,
  sampling: Sampling = greedy,
  cells = 512,
): Promise<number[]> {
  const range = { start: 0, length: cells };
  const text = [...prompt];
  const outputs = Int32Array.of(text.length - 1);
  let batch = causalBatch(text, 0, text.length, range, outputs, sampling);
  for (let i = 0; i < count; i++) {
    const [token] = await forwardThrough(stages, batch);
    text.push(token as number);
    batch = causalBatch(text, text.length - 1, 1, range, Int32Array.of(0), sampling);
  }
  return text.slice(prompt.length);
}

/** The choice after every token of a text, in one batch. */
export async function choices(
  stages: readonly Stage[],
  text: readonly number[],
): Promise<Int32Array> {
  const range = { start: 0, length: 512 };
  const outputs = Int32Array.from(text, (_, i) => i);
  return forwardThrough(stages, causalBatch(text, 0, text.length, range, outputs, greedy));
}
