import { afterEach, expect, test, vi } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import type { Stage, StepInSlices } from '../../engine/engine.js';
import { randomTokens } from '../../model/random-tokens.js';
import { StageRunner } from '../../stage/stage-runner.js';
import { Turns } from '../../stage/turns.js';
import { greedy } from '../../step/sampling.js';
import type { Step } from '../../step/step.js';
import { Tracer } from '../../transport/protocol/tracer.js';
import { openTestEngine } from '../support/engines.js';
import { tinyModel } from '../support/tiny-model.js';

afterEach(() => vi.restoreAllMocks());

const text = randomTokens(300, 300);
const none = new Float32Array(0);

function stepOf(id: number, sequence: number, first: number, count: number): Step {
  const cells = { start: (sequence - 1) * 512, length: 512 };
  const part = { sequence, text, first, count, cells, choices: 'last', sampling: greedy } as const;
  return { id, epoch: 1, segments: [causalSegment(part)] };
}

function load(): Promise<Stage> {
  return openTestEngine('ggml', 1).load({
    source: tinyModel('q8_0'),
    shard: { firstLayer: 0, endLayer: 3, embedding: true, head: true },
    ...{ cells: 1536, kvType: 'f16', maxStepRows: 256 },
  });
}

/** A runner of a real stage. @param onSlice called after each slice of long steps, with how many there were */
async function start(onSlice: (count: number) => void) {
  const stage = await load();
  const begin = stage.begin!.bind(stage);
  let count = 0;
  stage.begin = (...of): StepInSlices => {
    const slices = begin(...of);
    return {
      compute: async (layers) => {
        const results = await slices.compute(layers);
        onSlice(++count);
        return results;
      },
    };
  };
  const done: string[] = [];
  const failed: string[] = [];
  const tracer = new Tracer();
  const runner = new StageRunner(
    stage,
    {
      forward: () => undefined,
      finish: ({ id }, results) => void done.push(describe(id, results)),
      fail: ({ id }, { message }) => void failed.push(`${id}: ${message}`),
    },
    { maxStepRows: 256, turns: new Turns(), tracer },
  );
  const enqueue = (step: Step) =>
    new Promise<void>((resolve) => runner.enqueue(step, none, resolve));
  const stop = async () => {
    await runner.stop();
    stage.dispose();
  };
  return { stage, runner, tracer, enqueue, stop, done, failed };
}

function describe(id: number, results: Awaited<ReturnType<Stage['forward']>>): string {
  return `${id}: ${results.map(({ choices }) => choices.join()).join(' ')}`;
}

/** What steps give in order. */
async function inOrder(...steps: Step[]): Promise<string[]> {
  const stage = await load();
  const given: string[] = [];
  for (const step of steps) given.push(describe(step.id, await stage.forward(step, none, none)));
  stage.dispose();
  return given;
}

test('short steps are done before a long one under way, one after each slice', async () => {
  const long = stepOf(1, 1, 0, 200);
  const next = stepOf(2, 1, 200, 5);
  const shorts = [stepOf(3, 2, 0, 16), stepOf(4, 3, 0, 3), stepOf(5, 2, 16, 1)];
  const released: Promise<void>[] = [];
  const { enqueue, stop, done, failed, runner } = await start((count) => {
    if (count === 1) released.push(...[next, ...shorts].map(enqueue));
  });
  await enqueue(long);
  await Promise.all(released);
  const [first, second, ...others] = await inOrder(long, next, ...shorts);
  // Two fit between three slices of a layer each; what is of the same sequence waits, and the last one for its turn.
  expect(done).toEqual([...others.slice(0, 2), first, second, ...others.slice(2)]);
  expect(failed).toEqual([]);
  expect(runner.stats.steps).toBe(5);
  await stop();
});

test('a long step that is cancelled between slices is not computed further', async () => {
  let slices = 0;
  const { enqueue, stop, done, failed, runner } = await start((count) => {
    slices = count;
    if (count === 1) runner.cancel([{ step: 1, sequence: 1 }]);
  });
  const short = stepOf(2, 2, 0, 16);
  const [long, other] = [stepOf(1, 1, 0, 200), stepOf(3, 1, 0, 100)];
  await Promise.all([enqueue(long), enqueue(short)]);
  expect(slices).toBe(1);
  await enqueue(other);
  expect(done).toEqual(await inOrder(short, other));
  expect(failed).toEqual([]);
  await stop();
});

test('a long step of an older epoch is not computed further, and a short one fails alone', async () => {
  const wrong: Step = { ...stepOf(2, 2, 0, 3), epoch: 2 };
  wrong.segments[0]!.tokens[0] = 1_000_000;
  const released: Promise<void>[] = [];
  const { enqueue, stop, done, failed, runner } = await start((count) => {
    if (count === 1) released.push(enqueue(wrong));
    if (count === 2) runner.beginEpoch(2);
  });
  await enqueue(stepOf(1, 1, 0, 200));
  await Promise.all(released);
  expect(failed).toEqual([expect.stringMatching(/^2: .*token ids/)]);
  expect(done).toEqual([]);
  await stop();
});

test('the time of a long step is that of its slices', async () => {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const short = stepOf(2, 2, 0, 16);
  const released: Promise<void>[] = [];
  const { stage, enqueue, stop, runner, tracer } = await start((count) => {
    now += 10;
    if (count === 1) released.push(enqueue(short));
  });
  const forward = stage.forward.bind(stage);
  stage.forward = async (...of) => {
    const results = await forward(...of);
    now += 3;
    return results;
  };
  tracer.start();
  await enqueue(stepOf(1, 1, 0, 200));
  await Promise.all(released);
  expect(runner.stats.times).toMatchObject([
    { tokens: 16, ms: 3 },
    { tokens: 200, ms: 30 },
  ]);
  expect(runner.stats).toMatchObject({ steps: 2, computeMs: 33 });
  const events = tracer.stop().map(({ step, durationMs }) => [step, durationMs]);
  expect(events).toEqual([
    [1, 10],
    [2, 3],
    [1, 10],
    [1, 10],
  ]);
  await stop();
});
