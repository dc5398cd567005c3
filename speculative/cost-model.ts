import { stepSize, type Schedule } from './schedule.js';

/** What steps cost on a pipeline. */
export interface PipelineCosts {
  /** Milliseconds that each stage takes for a step of a size; sizes ascending, the same for all stages. */
  readonly stages: readonly StageCosts[];
  /** Milliseconds from one stage to the next, and from the last one back to the coordinator. */
  readonly hopMs: number;
  /** Milliseconds for drafting a token, on the processor that the first stage uses. */
  readonly draftMs: number;
}

/** Milliseconds by tokens in a step, measured for some sizes. */
export type StageCosts = readonly { readonly tokens: number; readonly ms: number }[];

/** Steps and probabilities beyond which a chain of right guesses is not followed. */
const longestChain = 64;
const negligible = 1e-3;

/** Chains of right guesses are not believed to be longer on average than this acceptance makes them. */
const mostAcceptance = 0.98;

/** Milliseconds of a step on a stage; between measured sizes a straight line. */
export function stageMs(costs: StageCosts, tokens: number): number {
  const [first] = costs;
  if (!first) return 0;
  let below = first;
  for (const point of costs) {
    if (point.tokens >= tokens) {
      if (point.tokens === below.tokens) return point.ms;
      const share = (tokens - below.tokens) / (point.tokens - below.tokens);
      return below.ms + share * (point.ms - below.ms);
    }
    below = point;
  }
  return (below.ms * tokens) / below.tokens;
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

/** When a step was computed on each stage, and when its result is back; in milliseconds from the first step's start. */
interface Passage {
  readonly begins: readonly number[];
  readonly ends: readonly number[];
  readonly back: number;
}

function pipelinedCycleMs(schedule: Schedule, a: number, costs: PipelineCosts): number {
  const chain = rightChain(schedule, a, costs);
  let judged = 0;
  let cycleMs = 0;
  for (const [step, { back }] of chain.entries()) {
    const size = stepSize(schedule, step);
    const isLast = step === chain.length - 1;
    const share = a ** judged - (isLast ? 0 : a ** (judged + size));
    if (share < negligible && !isLast) break;
    cycleMs += share * (back + restartDelay(schedule, costs, chain, back));
    judged += size;
  }
  return cycleMs;
}

/** The steps of a pipeline in which every guess is right, as far as they matter. */
function rightChain(schedule: Schedule, a: number, costs: PipelineCosts): Passage[] {
  const { stages, hopMs, draftMs } = costs;
  const passages: Passage[] = [];
  let judged = 0;
  // A window more than matters: these are under way when a guess turns out wrong.
  let beyond = 0;
  for (let step = 0; step < longestChain && beyond <= schedule.window; step++) {
    if (a ** judged < negligible) beyond++;
    const tokens = stepSize(schedule, step);
    const before = passages[step - 1];
    const drafted = (before?.ends[0] ?? 0) + (step === 0 ? tokens - 1 : tokens) * draftMs;
    let free = Math.max(drafted, passages[step - schedule.window]?.back ?? 0);
    const begins: number[] = [];
    const ends: number[] = [];
    for (const [i, stage] of stages.entries()) {
      const begin = Math.max(free, before?.ends[i] ?? 0);
      const end = begin + stageMs(stage, tokens);
      begins.push(begin);
      ends.push(end);
      free = end + hopMs;
    }
    passages.push({ begins, ends, back: free });
    judged += tokens;
  }
  return passages;
}

/**
 * What the first step after a wrong guess loses because stages still compute steps that have become useless: a step that
 * has begun is finished. The last stage drops what it has refuted by itself, the others when the coordinator says so.
 */
function restartDelay(
  schedule: Schedule,
  costs: PipelineCosts,
  chain: readonly Passage[],
  at: number,
): number {
  const { stages, hopMs, draftMs } = costs;
  const tokens = stepSize(schedule, 0);
  let free = at + (tokens - 1) * draftMs;
  let undisturbed = free;
  for (const [i, stage] of stages.entries()) {
    const cancelled = i === 0 ? at : at + hopMs;
    const busyUntil = i > 0 && i === stages.length - 1 ? 0 : busyAt(chain, i, cancelled);
    free = Math.max(free, busyUntil) + stageMs(stage, tokens) + hopMs;
    undisturbed += stageMs(stage, tokens) + hopMs;
  }
  return free - undisturbed;
}

/** Until when a stage computes what it computes at a time. */
function busyAt(chain: readonly Passage[], stage: number, at: number): number {
  for (const { begins, ends } of chain) {
    const end = ends[stage] as number;
    if ((begins[stage] as number) < at && end > at) return end;
  }
  return at;
}
