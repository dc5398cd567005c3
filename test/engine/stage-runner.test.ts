import { describe, expect, test } from 'vitest';
import { greedy, type Batch, type Stage } from '../../engine/engine.js';
import { StageRunner, type StageStep } from '../../engine/stage-runner.js';

/** A stage without the head whose steps end when the test says so. */
class SteppedStage implements Stage {
  readonly shard = { firstLayer: 0, endLayer: 1, embedding: true, head: false };
  readonly hiddenSize = 2;
  readonly memory = { weights: 0, kv: 0, compute: 0 };
  readonly kvType = 'f16';
  readonly computed: number[] = [];
  aborted = 0;
  #finish: ((error?: Error) => void) | undefined;

  forward({ tokens }: Batch, _hidden: Float32Array, output: Float32Array): Promise<Int32Array> {
    this.computed.push(tokens[0] ?? -1);
    output.fill(tokens[0] ?? -1);
    return new Promise((resolve, reject) => {
      this.#finish = (error) => (error ? reject(error) : resolve(new Int32Array(0)));
    });
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
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function step(id: number): StageStep {
  const one = Int32Array.of(0);
  return {
    id,
    follows: 0,
    tokens: Int32Array.of(id),
    positions: one,
    cells: one,
    windowStart: 0,
    windowLength: 256,
    visibleCounts: Int32Array.of(1),
    visible: Int32Array.of(0, 1),
    outputs: new Int32Array(0),
    sampling: greedy,
    recentTokens: new Int32Array(0),
  };
}

function start() {
  const stage = new SteppedStage();
  const forwarded: number[][] = [];
  const failed: string[] = [];
  const released: number[] = [];
  const runner = new StageRunner(
    stage,
    {
      forward: ({ id }, hidden) => void forwarded.push([id, ...hidden]),
      finish: () => undefined,
      fail: ({ id }, { message }) => failed.push(`${id}: ${message}`),
    },
    4,
  );
  const enqueue = (id: number) =>
    runner.enqueue(step(id), new Float32Array(0), () => released.push(id));
  return { stage, runner, enqueue, forwarded, failed, released };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('a stage runner', () => {
  test('computes steps in order, one at a time', async () => {
    const { stage, enqueue, forwarded, released } = start();
    for (const id of [1, 2, 3]) enqueue(id);
    await settle();
    expect(stage.computed).toEqual([1]);
    await stage.finish();
    expect(stage.computed).toEqual([1, 2]);
    expect(forwarded).toEqual([[1, 1, 1]]);
    expect(released).toEqual([1]);
  });

  test('drops cancelled steps, arrived or not, and releases what they hold', async () => {
    const { stage, runner, enqueue, forwarded, released } = start();
    for (const id of [1, 2, 3]) enqueue(id);
    await settle();
    runner.cancel([2, 99]);
    await stage.finish();
    expect(stage.computed).toEqual([1, 3]);
    await stage.finish();
    expect(forwarded.map(([id]) => id)).toEqual([1, 3]);
    expect(released).toEqual([1, 2, 3]);
    enqueue(99);
    enqueue(4);
    await settle();
    expect(stage.computed).toEqual([1, 3, 4]);
    expect(released).toEqual([1, 2, 3, 99]);
  });

  test('gives up a step that is cancelled while it is computed', async () => {
    const { stage, runner, enqueue, forwarded, failed, released } = start();
    for (const id of [1, 2]) enqueue(id);
    await settle();
    runner.cancel([1]);
    expect(stage.aborted).toBe(1);
    await stage.finish(new Error('given up'));
    expect(stage.computed).toEqual([1, 2]);
    await stage.finish();
    expect(forwarded.map(([id]) => id)).toEqual([2]);
    expect(failed).toEqual([]);
    expect(released).toEqual([1, 2]);
    runner.cancel([2]);
    expect(stage.aborted).toBe(1);
  });

  test('forgets a cancelled step that a device computed to the end', async () => {
    const { stage, runner, enqueue, forwarded } = start();
    enqueue(1);
    await settle();
    runner.cancel([1]);
    await stage.finish();
    expect(forwarded).toEqual([]);
  });

  test('goes on after a step that failed', async () => {
    const { stage, enqueue, forwarded, failed, released } = start();
    for (const id of [1, 2]) enqueue(id);
    await settle();
    await stage.finish(new Error('broken'));
    expect(failed).toEqual(['1: broken']);
    await stage.finish();
    expect(forwarded.map(([id]) => id)).toEqual([2]);
    expect(released).toEqual([1, 2]);
  });

  test('stops when the step under way has ended', async () => {
    const { stage, runner, enqueue } = start();
    for (const id of [1, 2]) enqueue(id);
    await settle();
    const stopped = runner.stop();
    await stage.finish();
    await stopped;
    expect(stage.computed).toEqual([1]);
  });
});
