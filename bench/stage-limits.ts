import type { Coordinator } from '../coord/coordinator.js';
import type { PlannedStage } from '../coord/plan.js';
import type { StageStats } from '../coord/stage-stats.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Shard } from '../step/shard.js';
import type { Measured } from './benchmark-result.js';
import { bytesRead, stageLimit, type StepTimes } from './limits.js';

/**
 * Measures what the machines of all stages can do.
 * @param cells of all conversations together
 * @returns how near a stage came to it
 * @throws CoordinatorError 'worker-lost'
 */
export async function stageLimits(
  coordinator: Pick<Coordinator, 'plan' | 'bandwidths'>,
  source: Pick<TensorSource, 'metadata' | 'tensors'>,
  cells: number,
): Promise<Measured['limit']> {
  const bandwidths = await coordinator.bandwidths();
  const { stages } = coordinator.plan;
  const shards = shardsOf(stages);
  return (stage, all, textTokens) => {
    const { memory } = stages[stage] as PlannedStage;
    const read = bytesRead(source, shards[stage] as Shard, memory, cells, textTokens);
    return stageLimit(read, bandwidths[stage] ?? 0, timesOf(stage, all));
  };
}

function shardsOf(stages: readonly PlannedStage[]): Shard[] {
  const first = stages.findIndex(({ layers }) => layers > 0);
  return stages.map(({ firstLayer, endLayer }, i) => ({
    firstLayer,
    endLayer,
    embedding: i === first,
    head: i === stages.length - 1,
  }));
}

/** Per step. */
function timesOf(stage: number, all: readonly StageStats[]): StepTimes {
  const { steps, computeMs, waitMs, encodeMs, sendMs } = all[stage] as StageStats;
  const perStep = (ms: number) => ms / Math.max(1, steps);
  const computed = all.map((stats) => stats.computeMs / Math.max(1, stats.steps));
  return {
    computeMs: perStep(computeMs),
    waitMs: perStep(waitMs),
    linkMs: perStep(encodeMs + sendMs),
    othersMs: computed.reduce((sum, ms) => sum + ms, 0) - perStep(computeMs),
  };
}
