import { stepSize, type Schedule } from './schedule.js';

/** What steps cost that pass a pipeline. */
export interface PassCosts {
  /** Milliseconds that each stage takes for a step of a size; sizes ascending, the same for all stages. */
  readonly stages: readonly StageCosts[];
  /** Milliseconds from one stage to the next, and from the last one back to the coordinator. */
  readonly hopMs: number;
  /** How much longer steps take when all stages compute at once: 1 unless stages share processors. */
  readonly sharing: number;
}

/** What steps cost on a pipeline, and drafts for them. */
export interface PipelineCosts extends PassCosts {
  /** Milliseconds for drafting a token, on the processor that the first stage uses. */
  readonly draftMs: number;
}

/** What steps of one size cost on a stage. */
export interface StepCost {
  readonly tokens: number;
  /** Milliseconds without attention to what stands before: weights, and overhead. */
  readonly ms: number;
  /** Milliseconds for each cell that its tokens look at; default 0. */
  readonly msPerCell?: number;
}

/** Measured for some sizes, ascending. */
export type StageCosts = readonly StepCost[];

/** Steps and probabilities beyond which a chain of right guesses is not followed. */
const longestChain = 64;
const negligible = 1e-3;

/** Chains of right guesses are not believed to be longer on average than this acceptance makes them. */
const mostAcceptance = 0.98;

/**
 * Milliseconds of a step on a stage; between measured sizes a straight line, and through zero beyond.
 * @param cells that its last token looks at: the length of its text
 */
export function stageMs(costs: StageCosts, tokens: number, cells = 0): number {
  const [first] = costs;
  if (!first) return 0;
  let below = first;
  for (const point of costs) {
    if (point.tokens >= tokens) {
      if (point.tokens === below.tokens) return stepMs(point, cells);
      const share = (tokens - below.tokens) / (point.tokens - below.tokens);
      return stepMs(below, cells) + share * (stepMs(point, cells) - stepMs(below, cells));
    }
    below = point;
  }
  return (stepMs(below, cells) * tokens) / below.tokens;
}

/** The same costs for texts of one length, which then are all that counts. */
export function costsAt(costs: PipelineCosts, cells: number): PipelineCosts {
  const at = (stage: StageCosts) =>
    stage.map((point) => ({ tokens: point.tokens, ms: stepMs(point, cells) }));
  return { ...costs, stages: costs.stages.map(at) };
}

function stepMs({ ms, msPerCell = 0 }: StepCost, cells: number): number {
  return ms + msPerCell * cells;
}

/**
 * Tokens per millisecond that a schedule gives when every draft is right with probability `acceptance`, independently.
 *
 * Decoding renews itself at every wrong guess (for `sync`: with every step), so the rate is the expected number of tokens
 * between two of them over the expected time. In a pipeline a guess that stands behind N right ones is found wrong when
 * the step that judges it comes back; a step judges its n tokens' successors, so step s finds it with probability
 * a^N(s) - a^(N(s) + n). The times are those of a pipeline in which no guess is wrong: up to there it is one.
 */
export function tokensPerMs(schedule: Schedule, acceptance: number, costs: PipelineCosts): number {
  const a = Math.min(mostAcceptance, Math.max(0, acceptance));
  if (schedule.mode === 'pipelined') return 1 / (1 - a) / pipelinedCycleMs(schedule, a, costs);
  const tokens = stepSize(schedule, 0);
  return (1 - a ** tokens) / (1 - a) / loneStepMs(tokens, costs);
}

/** Drafting a step's tokens and passing it through empty stages. */
function loneStepMs(tokens: number, { stages, hopMs, draftMs }: PipelineCosts): number {
  return stages.reduce(
    (sum, stage) => sum + stageMs(stage, tokens) + hopMs,
    (tokens - 1) * draftMs,
  );
}

/**
 * Expected time from one wrong guess to the next. Steps that have become useless are given up at once, so that the first
 * step after a wrong guess finds the stages free.
 */
function pipelinedCycleMs(schedule: Schedule, a: number, costs: PipelineCosts): number {
  let judged = 0;
  let cycleMs = 0;
  const results = resultTimes(schedule, costs);
  for (let step = 0; step < longestChain; step++) {
    const { value: backMs } = results.next();
    const reached = a ** judged;
    judged += stepSize(schedule, step);
    const isLast = reached < negligible || step === longestChain - 1;
    cycleMs += (isLast ? reached : reached - a ** judged) * backMs;
    if (isLast) break;
  }
  return cycleMs;
}

/** When the results of a chain of right guesses are back, in milliseconds from its beginning. */
function* resultTimes(
  schedule: Schedule,
  { stages, hopMs, draftMs, sharing }: PipelineCosts,
): Generator<number, never> {
  const busyShare = Math.min(schedule.window, stages.length) / stages.length;
  const slower = Math.max(1, sharing * busyShare);
  const free = new Array<number>(stages.length).fill(0);
  const back: number[] = [];
  for (let step = 0; ; step++) {
    const tokens = stepSize(schedule, step);
    // The first stage's processor drafts when it has nothing else to compute.
    const drafted = (free[0] ?? 0) + (step === 0 ? tokens - 1 : tokens) * draftMs;
    let time = Math.max(drafted, back[step - schedule.window] ?? 0);
    for (const [i, stage] of stages.entries()) {
      free[i] = Math.max(time, free[i] as number) + slower * stageMs(stage, tokens);
      time = free[i] + hopMs;
    }
    back.push(time);
    yield time;
  }
}
