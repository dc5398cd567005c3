import { stageMs, type PassCosts, type StageCosts } from './cost-model.js';

/** More steps in flight than so many for each stage only wait for each other. */
const mostPerStage = 3;

/** Other than as many steps as there are stages have to promise this much: costs are not exact. */
const worthwhile = 1.05;

/**
 * To how many steps the rows of some sequences, one each, are best shared out: while one step is on its way back, the
 * stages compute the others. More steps keep more stages busy, and read all weights more often.
 * @param mostRows that a step may have
 */
export function bestCohorts(sequences: number, costs: PassCosts, mostRows: number): number {
  const stages = Math.max(1, costs.stages.length);
  const most = Math.min(sequences, mostPerStage * stages);
  const least = Math.min(most, Math.ceil(sequences / mostRows));
  const usual = Math.min(most, Math.max(least, stages));
  let best = usual;
  let bestMs = cycleMs(sequences, usual, costs) / worthwhile;
  for (let cohorts = least; cohorts <= most; cohorts++) {
    const ms = cycleMs(sequences, cohorts, costs);
    if (ms < bestMs) [best, bestMs] = [cohorts, ms];
  }
  return best;
}

/** Tokens per millisecond of some sequences together, which share steps without any drafts. */
export function batchTokensPerMs(sequences: number, costs: PassCosts, mostRows: number): number {
  const cohorts = bestCohorts(sequences, costs, mostRows);
  const rows = Math.min(sequences, cohorts * mostRows);
  return rows / cycleMs(rows, cohorts, costs);
}

/** Milliseconds in which every row is computed once: a step comes again when it is back, and the busiest stage is free. */
function cycleMs(rows: number, cohorts: number, { stages, hopMs, sharing }: PassCosts): number {
  const busyShare = Math.min(cohorts, stages.length) / stages.length;
  const slower = Math.max(1, sharing * busyShare);
  const larger = Math.ceil(rows / cohorts);
  const smallerSteps = cohorts * larger - rows;
  let roundTripMs = 0;
  let busiestMs = 0;
  for (const stage of stages) {
    const largerMs = slower * stepMs(stage, larger);
    const smallerMs = slower * stepMs(stage, larger - 1);
    roundTripMs += largerMs + hopMs;
    busiestMs = Math.max(busiestMs, (cohorts - smallerSteps) * largerMs + smallerSteps * smallerMs);
  }
  return Math.max(roundTripMs, busiestMs);
}

/** Rows together take no longer than one by one: where it was measured otherwise, something else took the time. */
function stepMs(stage: StageCosts, rows: number): number {
  return Math.min(stageMs(stage, rows), rows * stageMs(stage, 1));
}
