import { textStep } from '../../bench/text-step.js';
import { calibrationSegments } from '../../coord/kv-calibration.js';
import { splitLayers } from '../../coord/plan.js';
import type { Engine, KvType, Stage } from '../../engine/engine.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { greedy, type Sampling } from '../../step/sampling.js';
import { rowsOfStep, type SegmentResult, type Step } from '../../step/step.js';
import { testCalibrationText } from './calibration.js';

/** Loads a model as several stages in this process, ready to compute. */
export async function loadStages(
  engine: Engine,
  source: TensorSource,
  layers: readonly number[],
  cells = 512,
  kvType: KvType = 'f16',
  conversations = 1,
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
    stages.push(
      await engine.load({ source, shard, cells, conversations, kvType, maxStepRows: 512 }),
    );
  if (stages.some(({ kvType }) => kvType === 'int8')) await calibrate(stages, source, cells);
  return stages;
}

async function calibrate(
  stages: readonly Stage[],
  source: TensorSource,
  cells: number,
): Promise<void> {
  const range = { start: 0, length: cells };
  for (const segment of calibrationSegments(testCalibrationText(source), range, cells))
    await forwardThrough(stages, { id: 1, epoch: 1, segments: [segment], calibratesKv: true });
}

/** Passes a step through all stages; `relay` stands for the links. */
export async function forwardThrough(
  stages: readonly Stage[],
  step: Step,
  relay: (hidden: Float32Array) => Float32Array = (hidden) => hidden,
): Promise<readonly SegmentResult[]> {
  let hidden: Float32Array = new Float32Array(0);
  for (const stage of stages) {
    const output = new Float32Array(rowsOfStep(step) * stage.hiddenSize);
    const results = await stage.forward(step, hidden, output);
    if (stage.shard.head) return results;
    hidden = relay(output);
  }
  throw new Error('no stage has the head');
}

/** What a step of one segment chooses. */
async function choicesOf(stages: readonly Stage[], step: Step): Promise<Int32Array> {
  const [result] = await forwardThrough(stages, step);
  if (!result) throw new Error('no result');
  return result.choices;
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
  for (let first = 0; text.length < prompt.length + count; first = text.length - 1) {
    const step = textStep(text, { first, cells: range, choices: 'last', sampling });
    text.push((await choicesOf(stages, step))[0] as number);
  }
  return text.slice(prompt.length);
}

/** The choice after every token of a text, in one step. */
export function choices(stages: readonly Stage[], text: readonly number[]): Promise<Int32Array> {
  return choicesOf(stages, textStep(text, { cells: { start: 0, length: 512 } }));
}
