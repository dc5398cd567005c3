import { afterAll, describe, expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import { splitLayers } from '../../coord/plan.js';
import type { Stage } from '../../engine/engine.js';
import { RoutingCounts, type LayerRoutings } from '../../engine/routing-counts.js';
import { readModel } from '../../model/architectures/model.js';
import { randomTokens } from '../../model/random-tokens.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { openTestEngine } from '../support/engines.js';
import { f64Routings } from '../support/f64-reference.js';
import { forwardThrough } from '../support/local-stages.js';

const model = syntheticModel('tiny-qwen3moe', 'f32');
const [layers, experts, chosen] = [3, 8, 2];
const text = [...randomTokens(40, 300)];
const cells = { start: 0, length: 256 };

const engine = openTestEngine('ggml');
const loaded: Stage[] = [];
afterAll(() => loaded.forEach((stage) => stage.dispose()));

async function load(split: readonly number[], countsRoutings = true): Promise<Stage[]> {
  const candidate = { name: '', device: '', machine: '', freeBytes: 1 };
  const stages: Stage[] = [];
  for (const shard of splitLayers(
    layers,
    split.map(() => candidate),
    split,
  )) {
    const sizes = { source: model, shard, cells: cells.length, maxStepRows: 64 };
    stages.push(await engine.load({ ...sizes, kvType: 'f16', countsRoutings }));
  }
  loaded.push(...stages);
  return stages;
}

/** Reads the text in steps of so many tokens, of which all, or the last of the last step, want a choice. */
async function read(stages: readonly Stage[], steps: readonly number[], choices: 'all' | 'none') {
  let first = 0;
  for (const count of steps) {
    const part = text.slice(0, first + count);
    await forwardThrough(stages, textStep(part, { first, cells, choices }));
    first += count;
  }
}

const countsOf = (stages: readonly Stage[]): LayerRoutings[] =>
  stages.flatMap(({ routings }) => routings?.layers ?? []);

/** What the f64 reference counts in steps of so many tokens. */
async function expected(steps: readonly number[]): Promise<LayerRoutings[]> {
  const routings = await f64Routings(model, text);
  return routings.map((rows, layer) => {
    const counts = new Array<number>(experts).fill(0);
    for (const { chosen } of rows) for (const expert of chosen) counts[expert]!++;
    let [first, distinct] = [0, 0];
    for (const count of steps) {
      const inStep = rows.slice(first, (first += count)).flatMap(({ chosen }) => chosen);
      distinct += new Set(inStep).size;
    }
    return { layer, counts, rows: text.length, steps: steps.length, distinct };
  });
}

describe('a stage that counts', () => {
  test('the reference has no choice that rounding could change', async () => {
    const margins = (await f64Routings(model, text)).flat().map(({ margin }) => margin);
    expect(margins).toHaveLength(layers * text.length);
    expect(Math.min(...margins)).toBeGreaterThan(1e-4);
  });

  test.each([
    ['one stage, one step', [3], [40]],
    ['one stage, token by token', [3], new Array<number>(40).fill(1)],
    ['three stages, several steps', [1, 1, 1], [16, 1, 23]],
  ])('gives what the router chooses in f64: %s', async (_, split, steps) => {
    const stages = await load(split);
    await read(stages, steps, 'all');
    const counted = countsOf(stages);
    expect(counted).toEqual(await expected(steps));
    const total = counted.flatMap(({ counts }) => counts).reduce((sum, count) => sum + count, 0);
    expect(total).toBe(text.length * chosen * layers);
  });

  test('leaves out experts that are not computed, as nobody reads what they give', async () => {
    const stages = await load([2, 1]);
    await read(stages, [16], 'none');
    expect(countsOf(stages).map(({ rows }) => rows)).toEqual([16, 16, 0]);
  });

  test('begins anew when it is told to', async () => {
    const stages = await load([3]);
    await read(stages, [40], 'all');
    stages[0]?.routings?.reset();
    const none = { counts: new Array<number>(experts).fill(0), rows: 0, steps: 0, distinct: 0 };
    expect(countsOf(stages)).toEqual([0, 1, 2].map((layer) => ({ layer, ...none })));
  });

  test('computes the same bits as one that does not, which has no counts', async () => {
    const step = textStep(text, { cells, choices: 'all' });
    const [counting] = await load([3]);
    const [plain] = await load([3], false);
    const nothing = new Float32Array(0);
    const logits = await Promise.all([
      counting!.logits(step, nothing),
      plain!.logits(step, nothing),
    ]);
    expect(logits[0]).toEqual(logits[1]);
    expect(plain!.routings).toBeUndefined();
  });
});

test('layers without experts are not counted', () => {
  const { layers } = readModel(syntheticModel('tiny-glm4moe', 'f32'));
  const counts = new RoutingCounts(layers, 0, 2);
  counts.add(0, Int32Array.of(1, 2), 1);
  counts.add(1, Int32Array.of(3, 0, 3, 1), 2);
  expect(counts.layers).toEqual([
    { layer: 1, counts: [1, 1, 0, 2, 0, 0, 0, 0], rows: 2, steps: 1, distinct: 3 },
  ]);
});
