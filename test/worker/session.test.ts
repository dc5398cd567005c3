import { afterEach, describe, expect, test } from 'vitest';
import type { NextStage } from '../../stage/outgoing-link.js';
import type { Shard } from '../../step/shard.js';
import type { Step } from '../../step/step.js';
import { readResult } from '../../transport/protocol/steps.js';
import { segmentOf } from '../stage/support/segments.js';
import { choiceAfter } from '../support/deterministic-stage.js';
import { tinyModel, tinyShape } from '../support/tiny-model.js';
import { closeAll } from '../transport/support/sockets.js';
import { connectAs, loadShardMessage, type TestCoordinator } from './support/coordinator.js';
import { ownEnd } from './support/own-end.js';
import { TestWorker } from './support/worker.js';

afterEach(closeAll);

const model = tinyModel('f32');
const first: Shard = { firstLayer: 0, endLayer: 1, embedding: true, head: false };
const middle: Shard = { firstLayer: 1, endLayer: 2, embedding: false, head: false };
const last: Shard = { firstLayer: 2, endLayer: 3, embedding: false, head: true };

/** As a stage host dials it. */
function addressOf({ port }: TestWorker, stage: number): NextStage {
  return { host: '127.0.0.1', port, stage, codec: 'f32' };
}

/** As a Link message says it. */
function nextOf(worker: TestWorker, stage: number) {
  return { ...addressOf(worker, stage), transport: 'auto', rdmaQueue: '' };
}

function stepOf(id: number, text: readonly number[], epoch = 1): Step {
  return { id, epoch, segments: [segmentOf(text, text.length - 1, 1)] };
}

/** Loads stages 1, 2 … on a worker. */
async function loadAll(coordinator: TestCoordinator, shards: readonly Shard[]): Promise<void> {
  for (const [i, shard] of shards.entries())
    await coordinator.load(loadShardMessage(model, shard, i + 1), model);
}

async function linkAll(
  coordinator: TestCoordinator,
  worker: TestWorker,
  stages: readonly number[],
  epoch = 1,
): Promise<void> {
  for (const [i, stage] of stages.entries()) {
    const next = stages[i + 1];
    coordinator.send('link', {
      stage,
      epoch,
      ...(next === undefined ? {} : { next: nextOf(worker, next) }),
    });
    const link = next === undefined ? undefined : { codec: 'f32', figures: undefined };
    expect(await coordinator.next('linked')).toEqual({ stage, epoch, link });
  }
}

async function choiceOf(coordinator: TestCoordinator, id: number): Promise<number | undefined> {
  const message = await coordinator.next('result');
  const { results, ...result } = readResult(message);
  expect(result).toEqual({ id, epoch: message.epoch });
  return results[0]?.choices[0];
}

describe('a session', () => {
  test('holds several stages, which compute together', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    await loadAll(coordinator, [first, middle, last]);
    expect(worker.engine.living).toBe(3);
    await linkAll(coordinator, worker, [1, 2, 3]);
    const own = ownEnd(tinyShape.hiddenSize);
    await own.link(1, addressOf(worker, 1));
    const text = [5];
    for (let id = 1; id <= 10; id++) {
      await own.submit(stepOf(id, text));
      const choice = await choiceOf(coordinator, id);
      expect(choice).toBe(choiceAfter(text, 3));
      text.push(choice ?? -1);
    }
    for (const stage of [1, 2, 3]) {
      coordinator.send('statsRequest', { request: 40 + stage, stage, reset: true });
      const stats = await coordinator.next('stats');
      expect(stats).toMatchObject({ request: 40 + stage, stage, report: { steps: 10 } });
    }
  });

  test('says what every stage takes, and how far loading is', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    worker.engine.memory = { weights: 7, kv: 8, compute: 9 };
    coordinator.send('loadShard', loadShardMessage(model, first, 3));
    const ready = await coordinator.next('ready');
    expect(ready).toEqual({
      ...{ stage: 3, weights: 7, kv: 8, compute: 9, kvType: 'f16' },
      movesPages: true,
    });
    const { loadedBytes, totalBytes, stage } = await coordinator.next('loadProgress');
    expect(stage).toBe(3);
    expect(loadedBytes).toBe(totalBytes);
  });

  test('refuses a second shard of the same number, and keeps the first', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    const whole = { ...first, endLayer: 3, head: true };
    await loadAll(coordinator, [whole]);
    coordinator.send('loadShard', loadShardMessage(model, last, 1));
    expect(await coordinator.next('failed')).toEqual({
      stage: 1,
      code: 'load',
      message: 'has a stage 1 already: unload it first',
    });
    await linkAll(coordinator, worker, [1]);
    const own = ownEnd(tinyShape.hiddenSize);
    await own.link(1, addressOf(worker, 1));
    await own.submit(stepOf(1, [5]));
    expect(await choiceOf(coordinator, 1)).toBe(choiceAfter([5], 1));
    expect(worker.engine.loads).toBe(1);
  });

  test('frees a stage, whose number can then be used again', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    await loadAll(coordinator, [first, last]);
    coordinator.send('unload', { stage: 1 });
    expect(await coordinator.next('unloaded')).toEqual({ stage: 1 });
    expect(worker.engine.living).toBe(1);
    await coordinator.load(loadShardMessage(model, middle, 1), model);
    expect(worker.engine.living).toBe(2);
  });

  test('gives up loading a stage that is unloaded', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    worker.engine.pause = new Promise(() => undefined);
    coordinator.send('loadShard', loadShardMessage(model, first));
    await coordinator.next('loadProgress');
    coordinator.send('unload', { stage: 1 });
    expect(await coordinator.next('unloaded')).toEqual({ stage: 1 });
    expect(await coordinator.next('failed')).toMatchObject({ stage: 1, code: 'load' });
    expect(worker.engine.living).toBe(0);
    worker.engine.pause = Promise.resolve();
    await coordinator.load(loadShardMessage(model, first), model);
  });

  test('loads a shard again after it failed', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    const load = worker.engine.load.bind(worker.engine);
    worker.engine.load = () => Promise.reject(new Error('the device is on fire'));
    coordinator.send('loadShard', loadShardMessage(model, first));
    expect((await coordinator.next('failed')).message).toBe('the device is on fire');
    worker.engine.load = load;
    await coordinator.load(loadShardMessage(model, first), model);
  });

  test('answers what is asked of stages that it has not', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    coordinator.send('link', { stage: 4, epoch: 1 });
    expect(await coordinator.next('failed')).toEqual({
      stage: 4,
      code: 'link',
      message: 'has no stage 4',
    });
    coordinator.send('unload', { stage: 4 });
    expect(await coordinator.next('unloaded')).toEqual({ stage: 4 });
    coordinator.send('statsRequest', { request: 9, stage: 4, reset: false });
    expect(await coordinator.next('stats')).toMatchObject({ request: 9, report: { steps: 0 } });
    for (const start of [true, false]) {
      coordinator.send('traceRequest', { request: 8, stage: 4, start });
      expect(await coordinator.next('trace')).toMatchObject({ request: 8, events: '[]' });
    }
    coordinator.send('cancel', { steps: [1], sequences: [1] });
    await expect(
      connectAs(worker.port, { role: 'tensor', stage: 4, codec: 'f32' }),
    ).rejects.toThrow(/has not loaded stage 4/);
    await expect(connectAs(worker.port, { role: 'weights', stage: 4 })).rejects.toThrow(
      /waits for no tensors of stage 4/,
    );
  });

  test('traces its stages', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    await loadAll(coordinator, [{ ...first, endLayer: 3, head: true }]);
    const own = ownEnd(tinyShape.hiddenSize);
    await own.link(1, addressOf(worker, 1));
    coordinator.send('traceRequest', { request: 1, stage: 1, start: true });
    await coordinator.next('trace');
    await own.submit(stepOf(1, [5]));
    await choiceOf(coordinator, 1);
    coordinator.send('traceRequest', { request: 2, stage: 1, start: false });
    const { request, events } = await coordinator.next('trace');
    expect(request).toBe(2);
    expect(events).toContain('compute');
  });

  test('ends when it hears what makes no sense, and the worker is free', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    coordinator.send('cancel', { steps: [1, 2], sequences: [1] });
    expect((await coordinator.control.closed).message).toMatch(/steps to cancel without sequences/);
    await worker.untilFree();
    const next = await worker.connect();
    next.control.send('tensorData', { name: 'x', offset: 0 }, new Uint8Array(8));
    expect((await next.control.closed).message).toMatch(/a tensorData message here/);
    await worker.untilFree();
  });
});

describe('steps', () => {
  test('that were cancelled are dropped, and those that fail are named', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    await loadAll(coordinator, [{ ...first, endLayer: 3, head: true }]);
    const own = ownEnd(tinyShape.hiddenSize);
    await own.link(1, addressOf(worker, 1));
    coordinator.send('cancel', { steps: [1], sequences: [1] });
    // An answer to this comes after the cancel was read.
    coordinator.send('statsRequest', { request: 1, stage: 1, reset: false });
    await coordinator.next('stats');
    await own.submit(stepOf(1, [5]));
    await own.submit(stepOf(2, [5]));
    expect(await choiceOf(coordinator, 2)).toBe(choiceAfter([5], 1));
    worker.engine.delay = () => Promise.reject(new Error('out of order'));
    await own.submit(stepOf(3, [5], 7));
    expect(await coordinator.next('stepFailed')).toEqual({
      stage: 1,
      id: 3,
      epoch: 7,
      message: 'out of order',
    });
  });

  test('of older epochs are dropped once a stage is linked anew', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    await loadAll(coordinator, [{ ...first, endLayer: 3, head: true }]);
    await linkAll(coordinator, worker, [1], 5);
    const own = ownEnd(tinyShape.hiddenSize);
    await own.link(5, addressOf(worker, 1));
    await own.submit(stepOf(1, [5], 4));
    await own.submit(stepOf(2, [5], 5));
    expect(await choiceOf(coordinator, 2)).toBe(choiceAfter([5], 1));
  });
});

describe('a stage whose next one is gone', () => {
  test('says that it lost its link, and to whom', async () => {
    await using worker = await TestWorker.start({ model });
    await using other = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    const elsewhere = await other.connect();
    await loadAll(coordinator, [first]);
    await loadAll(elsewhere, [last]);
    coordinator.send('link', { stage: 1, epoch: 1, next: nextOf(other, 1) });
    await coordinator.next('linked');
    await other.close();
    const { message, ...failed } = await coordinator.next('failed');
    expect(failed).toEqual({ stage: 1, code: 'lost' });
    expect(message).toContain(`worker 127.0.0.1:${other.port}`);
  });

  test('has lost nothing when it was linked to another before', async () => {
    await using worker = await TestWorker.start({ model });
    await using other = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    const elsewhere = await other.connect();
    await loadAll(coordinator, [first, last]);
    await loadAll(elsewhere, [last]);
    coordinator.send('link', { stage: 1, epoch: 1, next: nextOf(other, 1) });
    await coordinator.next('linked');
    coordinator.send('link', { stage: 1, epoch: 2, next: nextOf(worker, 2) });
    await coordinator.next('linked');
    await other.close();
    coordinator.send('link', { stage: 1, epoch: 3, next: nextOf(other, 1) });
    expect(await coordinator.next('failed')).toMatchObject({ stage: 1, code: 'link' });
    expect(coordinator.messages.filter(({ kind }) => kind === 'failed')).toEqual([]);
  });
});
