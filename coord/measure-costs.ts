import type { PipelineCosts } from '../speculative/cost-model.js';
import { greedy } from '../step/sampling.js';
import type { Segment } from '../step/step.js';
import type { CellRange } from './cells.js';
import type { Pipeline } from './pipeline.js';
import { causalSegment } from './segments.js';
import type { StageStats } from './stage-stats.js';

/** Milliseconds that steps of one size are repeated for, before they are measured and in each round of measuring. */
const measureMs = 30;

/** Rounds of measuring: the fastest counts, others were disturbed. */
const rounds = 3;

/** Steps that follow each other when the pipeline's beat is measured. */
const burst = 4;

/** What measuring needs of a coordinator. */
export interface Measured {
  readonly pipeline: Pipeline;
  /** Since the last call. */
  stats(): Promise<readonly StageStats[]>;
}

type Costs = Omit<PipelineCosts, 'draftMs'>;

/**
 * Measures what steps of some sizes cost on every stage, with made-up tokens in cells that nobody uses yet.
 * @param sizes tokens of a step, ascending
 * @throws CoordinatorError 'worker-lost', 'step'
 */
export async function measureCosts(
  measured: Measured,
  range: CellRange,
  sizes: readonly number[],
): Promise<Costs> {
  const [smallest] = sizes;
  const larger = sizes[Math.floor(sizes.length / 2)];
  if (smallest === undefined || larger === undefined) return { stages: [], hopMs: 0, sharing: 1 };
  const computing = new Map<number, readonly number[]>();
  for (const size of sizes)
    computing.set(size, await measureStages(measured, segmentOf(size, range)));
  const slowest = (size: number) => Math.max(...(computing.get(size) ?? []));
  // In larger steps, all but computing is small.
  const sharing = (await beat(measured, segmentOf(larger, range))) / slowest(larger);
  const besideMs = Math.max(
    0,
    (await beat(measured, segmentOf(smallest, range))) - sharing * slowest(smallest),
  );
  const stages = (computing.get(smallest) ?? []).map((_, stage) =>
    sizes.map((tokens) => ({ tokens, ms: (computing.get(tokens)?.[stage] ?? 0) + besideMs })),
  );
  const roundTripMs = await fastest(
    () => measured.pipeline.submit([segmentOf(smallest, range)]).results[0],
  );
  const busyMs = stages.reduce((sum, [first]) => sum + (first?.ms ?? 0), 0);
  return {
    stages,
    // What stages do not take is spent on the way.
    hopMs: Math.max(0, roundTripMs - busyMs) / Math.max(1, stages.length),
    sharing: Math.max(1, sharing),
  };
}

/** @returns milliseconds of computing on each stage that has layers */
async function measureStages(measured: Measured, segment: Segment): Promise<number[]> {
  const once = () => measured.pipeline.submit([segment]).results[0];
  // Builds graphs, and has weights in memory.
  await repeat(once);
  await measured.stats();
  let least: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await repeat(once);
    const computing = (await measured.stats())
      .filter(({ steps }) => steps > 0)
      .map(({ computeMs, steps }) => computeMs / steps);
    least = computing.map((ms, stage) => Math.min(ms, least[stage] ?? ms));
  }
  return least;
}

/** @returns milliseconds from one step's result to the next while steps follow each other */
async function beat({ pipeline }: Measured, segment: Segment): Promise<number> {
  const follow = (steps: number) => () =>
    Promise.all(Array.from({ length: steps }, () => pipeline.submit([segment]).results).flat());
  return ((await fastest(follow(2 * burst))) - (await fastest(follow(burst)))) / burst;
}

/** @returns milliseconds that the action takes when nothing disturbs it */
async function fastest(action: () => Promise<unknown> | undefined): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) times.push(await repeat(action));
  return Math.min(...times);
}

/** @returns milliseconds that each time takes */
async function repeat(action: () => Promise<unknown> | undefined): Promise<number> {
  const begin = performance.now();
  let times = 0;
  do {
    await action();
    times++;
  } while (performance.now() - begin < measureMs);
  return (performance.now() - begin) / times;
}

/** Plain text with a choice wanted for every token. */
function segmentOf(tokens: number, cells: CellRange): Segment {
  return causalSegment({
    sequence: 1,
    text: new Int32Array(tokens),
    first: 0,
    count: tokens,
    cells,
    choices: 'all',
    sampling: greedy,
  });
}
