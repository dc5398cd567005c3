import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CostCache } from '../../coord/cost-cache.js';
import type { Measured } from '../../coord/measure-costs.js';
import { Pipeline } from '../../coord/pipeline.js';
import { typicalCosts } from '../../coord/prompt-chunks.js';
import { RouteCosts } from '../../coord/route-costs.js';
import { stageMs } from '../../speculative/cost-model.js';
import type { Step } from '../../step/step.js';
import type { TraceEvent } from '../../transport/protocol/tracer.js';

let folder: string;
beforeEach(async () => void (folder = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'))));
afterEach(() => fs.rm(folder, { recursive: true, force: true }));

type Law = (tokens: number, cells: number) => number;

const first: Law = (tokens, cells) => 2 + tokens + 0.001 * tokens * cells;
const second: Law = (tokens, cells) => 1 + 3 * tokens + 0.002 * tokens * cells;

/** Stages that say that steps took what their laws tell. The coordinator's own may have no layers, and says nothing. */
class LawfulStages implements Measured {
  readonly pipeline = new Pipeline();
  readonly sizes: number[] = [];
  #traces: TraceEvent[][] = [];

  constructor(private readonly laws: readonly (Law | undefined)[]) {
    this.pipeline.use({
      epoch: 1,
      submit: (step) => this.#compute(step),
      cancel: () => undefined,
    });
  }

  startTrace(): void {
    this.#traces = this.laws.map(() => []);
  }

  stopTrace(): Promise<TraceEvent[][]> {
    return Promise.resolve(this.#traces);
  }

  #compute(step: Step): void {
    const [segment] = step.segments;
    if (!segment) return;
    const { length } = segment.tokens;
    this.sizes.push(length);
    for (const [i, law] of this.laws.entries()) {
      const durationMs = law?.(length, segment.visible.windowLength);
      if (durationMs !== undefined)
        this.#traces[i]?.push({ what: 'compute', step: step.id, beginMs: 0, durationMs });
    }
    setImmediate(() =>
      this.pipeline.finished(step, [{ sequence: segment.sequence, choices: segment.tokens }]),
    );
  }
}

const keys = ['stage a', 'stage b'];

async function open(
  laws: readonly (Law | undefined)[],
  { keys: named = keys, context = 2048, mostTokens = 512 } = {},
) {
  const stages = new LawfulStages(laws);
  const costs = await RouteCosts.of(named, {
    pipeline: stages.pipeline,
    startTrace: () => stages.startTrace(),
    stopTrace: () => stages.stopTrace(),
    cache: new CostCache(folder),
    cells: { start: 0, length: context },
    mostTokens,
  });
  // Chunks of prompts are computed only where stages are measured.
  const wasMeasured = stages.sizes.some((size) => size >= 64);
  return { costs, wasMeasured, sizes: stages.sizes };
}

test('steps of some sizes tell what others cost, on every stage, in texts of any length', async () => {
  const { costs } = await open([first, undefined, second]);
  const [a = [], b = []] = costs.stages;
  for (const tokens of [1, 3, 16, 64, 128])
    for (const cells of [256, 1024, 4000]) {
      expect(stageMs(a, tokens, cells)).toBeCloseTo(first(tokens, cells), 6);
      expect(stageMs(b, tokens, cells)).toBeCloseTo(second(tokens, cells), 6);
    }
  // Drafts are priced with what a step takes beside computing.
  const { stages, sharing } = costs.pipeline;
  expect(stageMs(stages[0] ?? [], 1, 256)).toBeGreaterThanOrEqual(first(1, 256));
  expect(sharing).toBeGreaterThanOrEqual(1);
});

test.each([
  { context: 100, mostTokens: 512 },
  { context: 600, mostTokens: 7 },
  { context: 2048, mostTokens: 64 },
  { context: 1, mostTokens: 1 },
])('no step has more tokens than there may be: %o', async ({ context, mostTokens }) => {
  const { costs, sizes } = await open([first, second], { context, mostTokens });
  expect(Math.max(...sizes)).toBeLessThanOrEqual(Math.min(context, mostTokens));
  expect(stageMs(costs.stages[0] ?? [], 1, Math.min(256, context))).toBeGreaterThan(0);
});

test('what is known is not measured again', async () => {
  const before = await open([first, second]);
  const again = await open([first, second]);
  expect([before.wasMeasured, again.wasMeasured]).toEqual([true, false]);
  expect(again.costs.stages).toEqual(before.costs.stages);
});

test('what is not true any more is measured again', async () => {
  await open([first, second]);
  const slower: Law = (tokens, cells) => 2 * second(tokens, cells);
  const { costs, wasMeasured } = await open([first, slower]);
  expect(wasMeasured).toBe(true);
  expect(stageMs(costs.stages[1] ?? [], 1, 256)).toBeCloseTo(slower(1, 256), 6);
  expect((await open([first, slower])).wasMeasured).toBe(false);
});

test('a damaged file has all measured again', async () => {
  await open([first, second]);
  const [name = ''] = await fs.readdir(path.join(folder, 'costs'));
  await fs.writeFile(path.join(folder, 'costs', name), 'nothing');
  expect((await open([first, second])).wasMeasured).toBe(true);
  expect((await open([first, second])).wasMeasured).toBe(false);
});

test('a moved stage has costs of its own', async () => {
  const before = await open([first, second]);
  const third: Law = (tokens, cells) => 10 * second(tokens, cells);
  const moved = ['stage a', 'stage b elsewhere'];
  const after = await open([first, third], { keys: moved });
  expect(after.wasMeasured).toBe(true);
  expect(after.costs.stages[0]).toEqual(before.costs.stages[0]);
  expect(stageMs(after.costs.stages[1] ?? [], 64, 256)).toBeCloseTo(third(64, 256), 6);
  // What was known of the old one still is.
  expect((await open([first, second])).wasMeasured).toBe(false);
});

test('chunks that any stage has computed change what is known of it', async () => {
  const { costs } = await open([first, second]);
  const seen = { steps: 1, tokens: 256, cells: 512, ms: 5000 };
  await costs.learn([[], [seen]]);
  expect(stageMs(costs.stages[0] ?? [], 256, 512)).toBeCloseTo(first(256, 512), 6);
  expect(stageMs(costs.stages[1] ?? [], 256, 512)).toBeCloseTo(5000, 6);
  expect((await open([first, second])).wasMeasured).toBe(false);
});

test('steps that take far longer than was known have it forgotten', async () => {
  const { costs } = await open([first, second]);
  await costs.learn([[], [{ steps: 4, tokens: 256, cells: 512, ms: 1e6 }]]);
  expect((await open([first, second])).wasMeasured).toBe(true);
});

test('without measuring, what CPUs show is taken, and what stages have seen', async () => {
  const costs = RouteCosts.unknown(keys);
  expect(costs.stages).toEqual([typicalCosts, typicalCosts]);
  expect(costs.pipeline).toEqual({ stages: costs.stages, hopMs: 0, sharing: 1 });
  await costs.learn([[{ steps: 1, tokens: 64, cells: 256, ms: 7 }], []]);
  expect(stageMs(costs.stages[0] ?? [], 64, 256)).toBeCloseTo(7);
});
