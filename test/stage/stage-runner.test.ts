import { describe, expect, test } from 'vitest';
import type { Stage } from '../../engine/engine.js';
import { StageRunner } from '../../stage/stage-runner.js';
import { Turns } from '../../stage/turns.js';
import type { SegmentResult, Step } from '../../step/step.js';
import { Tracer } from '../../transport/protocol/tracer.js';
import { segmentOf, stepOf } from './support/segments.js';

const settle = () => new Promise((resolve) => setImmediate(resolve));

/** A stage whose steps end when the test says so. Hidden states are the tokens, as far as none come in. */
class SteppedStage implements Stage {
  readonly shard;
  readonly hiddenSize = 2;
  readonly memory = { weights: 0, kv: 0, compute: 0 };
  readonly kvType = 'f16';
  /** Step ids with the sequences of their segments. */
  readonly computed: string[] = [];
  aborted = 0;
  #finish: ((error?: Error) => void) | undefined;

  constructor(head: boolean) {
    this.shard = { firstLayer: 0, endLayer: 1, embedding: !head, head };
  }

  async forward(
    { id, segments }: Step,
    hidden: Float32Array,
    output: Float32Array,
  ): Promise<SegmentResult[]> {
    this.computed.push(`${id}: ${segments.map(({ sequence }) => sequence).join(' ')}`);
    const tokens = segments.flatMap((segment) => [...segment.tokens]);
    if (!this.shard.head)
      output.set(hidden.length > 0 ? hidden : tokens.flatMap((token) => [token, token]));
    await new Promise<void>((resolve, reject) => {
      this.#finish = (error) => (error ? reject(error) : resolve());
    });
    if (!this.shard.head) return [];
    return segments.map(({ sequence, tokens: { length } }) => ({
      sequence,
      choices: new Int32Array(length).fill(100 * sequence),
    }));
  }

  logits(): Promise<Float32Array> {
    return Promise.reject(new Error('no head'));
  }

  abort(): void {
    this.aborted++;
  }

  dispose(): void {
    this.#finish = undefined;
  }

  async finish(error?: Error): Promise<void> {
    this.#finish?.(error);
    await settle();
  }
}

function start(head = false, turns = new Turns()) {
  const stage = new SteppedStage(head);
  const forwarded: string[] = [];
  const finished: string[] = [];
  const failed: string[] = [];
  const released: number[] = [];
  const runner = new StageRunner(
    stage,
    {
      forward: ({ id, segments }, hidden) =>
        void forwarded.push(
          `${id}: ${segments.map((s) => s.sequence).join(' ')}: ${hidden.join(' ')}`,
        ),
      finish: ({ id }, results) =>
        void finished.push(
          `${id}: ${results.map((r) => `${r.sequence}=${r.choices.join('/')}`).join(' ')}`,
        ),
      fail: ({ id, segments }, { message }) =>
        failed.push(`${id}: ${segments.map((s) => s.sequence).join(' ')}: ${message}`),
    },
    { maxStepRows: 8, turns, tracer: new Tracer() },
  );
  const enqueue = (step: Step, hidden: readonly number[] = []) =>
    runner.enqueue(step, Float32Array.from(hidden), () => released.push(step.id));
  return { stage, runner, enqueue, forwarded, finished, failed, released };
}

const cancelled = (step: number, ...sequences: number[]) =>
  sequences.map((sequence) => ({ step, sequence }));

describe('a stage runner', () => {
  test('computes steps in order, one at a time', async () => {
    const { stage, enqueue, forwarded, released } = start();
    for (const id of [1, 2, 3]) enqueue(stepOf(id));
    await settle();
    expect(stage.computed).toEqual(['1: 1']);
    await stage.finish();
    expect(stage.computed).toEqual(['1: 1', '2: 1']);
    expect(forwarded).toEqual(['1: 1: 1 1']);
    expect(released).toEqual([1]);
  });

  test('goes on after a step that failed', async () => {
    const { stage, enqueue, forwarded, failed, released } = start();
    for (const id of [1, 2]) enqueue(stepOf(id, [1, 2]));
    await settle();
    await stage.finish(new Error('broken'));
    expect(failed).toEqual(['1: 1 2: broken']);
    await stage.finish();
    expect(forwarded).toEqual(['2: 1 2: 2 2 2 2']);
    expect(released).toEqual([1, 2]);
  });

  test('moves pages whatever is cancelled, and learns no costs from that', async () => {
    const { stage, runner, enqueue, forwarded, released } = start();
    const copies = [{ from: 0, to: 1, count: 1 }];
    enqueue({ id: 1, epoch: 1, segments: [], copies, inOrder: true });
    runner.cancel(cancelled(1, 1, 2));
    await settle();
    runner.cancel(cancelled(2, 1));
    expect(stage).toMatchObject({ computed: ['1: '], aborted: 0 });
    await stage.finish();
    expect(forwarded).toEqual(['1: : ']);
    expect(released).toEqual([1]);
    expect(runner.stats).toMatchObject({ steps: 1, times: [] });
  });

  test('counts what it computed, and learns what it costs', async () => {
    const { stage, runner, enqueue } = start();
    expect(runner.stats).toMatchObject({ steps: 0, computeMs: 0, times: [] });
    for (const id of [1, 2]) enqueue(stepOf(id));
    await settle();
    await stage.finish();
    await stage.finish(new Error('broken'));
    expect(runner.stats.steps).toBe(1);
    runner.resetStats();
    expect(runner.stats).toMatchObject({
      steps: 0,
      computeMs: 0,
      times: [{ steps: 1, tokens: 1 }],
    });
  });

  test('gives up the step under way when it is stopped, and says nothing of it', async () => {
    const { stage, runner, enqueue, forwarded, failed } = start();
    for (const id of [1, 2]) enqueue(stepOf(id));
    await settle();
    const stopped = runner.stop();
    expect(stage.aborted).toBe(1);
    await stage.finish(new Error('given up'));
    await stopped;
    expect(stage.computed).toEqual(['1: 1']);
    expect([...forwarded, ...failed]).toEqual([]);
  });
});

describe('a cancelled step', () => {
  test('is dropped, arrived or not, and what it holds is released', async () => {
    const { stage, runner, enqueue, forwarded, released } = start();
    for (const id of [1, 2, 3]) enqueue(stepOf(id));
    await settle();
    runner.cancel([...cancelled(2, 1), ...cancelled(99, 1)]);
    await stage.finish();
    expect(stage.computed).toEqual(['1: 1', '3: 1']);
    await stage.finish();
    expect(forwarded).toHaveLength(2);
    expect(released).toEqual([1, 2, 3]);
    enqueue(stepOf(99));
    enqueue(stepOf(4));
    await settle();
    expect(stage.computed).toEqual(['1: 1', '3: 1', '4: 1']);
    expect(released).toEqual([1, 2, 3, 99]);
  });

  test('is given up while it is computed', async () => {
    const { stage, runner, enqueue, forwarded, failed, released } = start();
    for (const id of [1, 2]) enqueue(stepOf(id));
    await settle();
    runner.cancel(cancelled(1, 1));
    expect(stage.aborted).toBe(1);
    await stage.finish(new Error('given up'));
    expect(stage.computed).toEqual(['1: 1', '2: 1']);
    await stage.finish();
    expect(forwarded).toEqual(['2: 1: 2 2']);
    expect(failed).toEqual([]);
    expect(released).toEqual([1, 2]);
    runner.cancel(cancelled(2, 1));
    expect(stage.aborted).toBe(1);
  });

  test('is forgotten when a device computes it to the end all the same', async () => {
    const { stage, runner, enqueue, forwarded } = start();
    enqueue(stepOf(1));
    await settle();
    runner.cancel(cancelled(1, 1));
    await stage.finish();
    expect(forwarded).toEqual([]);
  });

  test('is not computed when the cancel comes while others have their turn', async () => {
    const turns = new Turns();
    const { stage, runner, enqueue, forwarded, released } = start(false, turns);
    let endTurn: () => void = () => undefined;
    const turn = turns.take(() => new Promise<void>((resolve) => (endTurn = resolve)));
    for (const id of [1, 2]) enqueue(stepOf(id));
    await settle();
    runner.cancel(cancelled(1, 1));
    endTurn();
    await turn;
    await settle();
    expect(stage.computed).toEqual(['2: 1']);
    await stage.finish();
    expect(forwarded).toEqual(['2: 1: 2 2']);
    expect(released).toEqual([1, 2]);
  });
});

describe('a step that loses some of its segments', () => {
  const hidden = [1, 1, 2, 2, 3, 3, 4, 4];
  const step: Step = {
    id: 1,
    epoch: 0,
    segments: [segmentOf([7], 0, 1), segmentOf([8, 9], 0, 2), segmentOf([10], 0, 3)],
  };

  test('is computed with the others, and their rows', async () => {
    const { stage, runner, enqueue, forwarded } = start();
    runner.cancel(cancelled(1, 2));
    enqueue(step, hidden);
    await settle();
    expect(stage.computed).toEqual(['1: 1 3']);
    await stage.finish();
    expect(forwarded).toEqual(['1: 1 3: 1 1 4 4']);
  });

  test('is sent on without them when it is computed already', async () => {
    const { stage, runner, enqueue, forwarded, failed } = start();
    enqueue(step, hidden);
    await settle();
    runner.cancel(cancelled(1, 1));
    expect(stage.aborted).toBe(0);
    await stage.finish();
    expect(forwarded).toEqual(['1: 2 3: 2 2 3 3 4 4']);

    enqueue({ ...step, id: 2 }, hidden);
    await settle();
    runner.cancel(cancelled(2, 1));
    runner.cancel(cancelled(2, 3));
    expect(stage.aborted).toBe(0);
    runner.cancel(cancelled(2, 2));
    expect(stage.aborted).toBe(1);
    await stage.finish(new Error('given up'));
    expect([...forwarded.slice(1), ...failed]).toEqual([]);
  });

  test('gives no results for them, and what follows them is dropped', async () => {
    const { stage, runner, enqueue, finished, released } = start(true);
    enqueue(step);
    enqueue({
      id: 2,
      epoch: 0,
      segments: [segmentOf([100], 0, 1, 1), segmentOf([200], 0, 2, 1), segmentOf([999], 0, 3, 1)],
    });
    await settle();
    runner.cancel(cancelled(1, 1));
    await stage.finish();
    // The second sequence's own guess, 9 for 200, was wrong, and the third's next step guesses wrong.
    expect(finished).toEqual(['1: 2=200/200 3=300']);
    expect(stage.computed).toEqual(['1: 1 2 3']);
    expect(released).toEqual([1, 2]);
    enqueue({ id: 3, epoch: 0, segments: [segmentOf([1], 0, 1, 2), segmentOf([2], 0, 3, 0)] });
    await settle();
    expect(stage.computed).toEqual(['1: 1 2 3', '3: 3']);
  });
});

describe('a step of an older epoch', () => {
  test('is dropped, and given up when it is being computed', async () => {
    const { stage, runner, enqueue, forwarded, failed, released } = start();
    for (const id of [1, 2]) enqueue(stepOf(id, [1], 1));
    await settle();
    runner.beginEpoch(1);
    expect(stage.aborted).toBe(0);
    runner.beginEpoch(2);
    expect(stage.aborted).toBe(1);
    enqueue(stepOf(3, [1], 2));
    await stage.finish(new Error('given up'));
    expect(stage.computed).toEqual(['1: 1', '3: 1']);
    await stage.finish();
    expect(forwarded).toEqual(['3: 1: 3 3']);
    expect(failed).toEqual([]);
    expect(released).toEqual([1, 2, 3]);
  });
});
