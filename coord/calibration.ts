import { greedy, type Batch } from '../engine/engine.js';
import type { PipelineCosts } from '../speculative/cost-model.js';
import type { CellRange } from './cells.js';
import type { Pipeline } from './pipeline.js';
import type { StageStats } from './stage-stats.js';
import { causalBatch } from './step-builder.js';

/** Milliseconds that steps of one size are repeated for, before they are measured and while they are. */
const measureMs = 30;

/** Steps in flight when the pipeline's beat is measured. */
const burst = 4;

/** What calibration needs of a coordinator. */
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
  if (smallest === undefined) return { stages: [], hopMs: 0 };
  const computing = new Map<number, readonly number[]>();
  for (const size of sizes)
    computing.set(size, await measureStages(measured, batchOf(size, range)));
  const inStages = computing.get(smallest) ?? [];
  const { roundTripMs, beatMs } = await measureOverhead(measured, batchOf(smallest, range));
  // What every stage does beside computing shows when steps follow each other; the rest is on the way.
  const besideMs = Math.max(0, beatMs - Math.max(...inStages));
  const busyMs = inStages.reduce((sum, ms) => sum + ms + besideMs, 0);
  return {
    stages: inStages.map((_, stage) =>
      sizes.map((tokens) => ({ tokens, ms: (computing.get(tokens)?.[stage] ?? 0) + besideMs })),
    ),
    hopMs: Math.max(0, roundTripMs - busyMs) / Math.max(1, inStages.length),
  };
}

/** @returns milliseconds of computing on each stage that has layers */
async function measureStages(measured: Measured, batch: Batch): Promise<number[]> {
  const once = () => measured.pipeline.submit(batch).tokens;
  // Builds graphs, and has weights in memory.
  await repeat(once);
  await measured.stats();
  await repeat(once);
  return (await measured.stats())
    .filter(({ steps }) => steps > 0)
    .map(({ computeMs, steps }) => computeMs / steps);
}

async function measureOverhead(
  { pipeline }: Measured,
  batch: Batch,
): Promise<{ roundTripMs: number; beatMs: number }> {
  const roundTripMs = await repeat(() => pipeline.submit(batch).tokens);
  const burstMs = await repeat(() =>
    Promise.all(Array.from({ length: burst }, () => pipeline.submit(batch).tokens)),
  );
  return { roundTripMs, beatMs: (burstMs - roundTripMs) / (burst - 1) };
}

/** @returns milliseconds that each time takes */
async function repeat(action: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  let times = 0;
  do {
    await action();
    times++;
  } while (performance.now() - begin < measureMs);
  return (performance.now() - begin) / times;
}

/** A causal step with a choice wanted for every token. */
function batchOf(tokens: number, range: CellRange): Batch {
  const outputs = Int32Array.from({ length: tokens }, (_, i) => i);
  return causalBatch(new Int32Array(tokens), 0, tokens, range, outputs, greedy);
}
