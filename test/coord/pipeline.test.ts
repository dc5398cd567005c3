import { expect, test } from 'vitest';
import type { CoordinatorError } from '../../coord/errors.js';
import { Pipeline } from '../../coord/pipeline.js';
import { causalSegment } from '../../coord/segments.js';
import type { SegmentId } from '../../stage/wanted-segments.js';
import { greedy } from '../../step/sampling.js';
import type { Step } from '../../step/step.js';

function segment(sequence: number) {
  return causalSegment({
    sequence,
    text: Int32Array.of(1, 2),
    first: 0,
    count: 2,
    cells: { start: 0, length: 64 },
    choices: 'last',
    sampling: greedy,
  });
}

function start(epoch = 1) {
  const pipeline = new Pipeline();
  const steps: Step[] = [];
  const cancelled: SegmentId[] = [];
  pipeline.use({
    epoch,
    submit: (step) => void steps.push(step),
    cancel: (segments) => void cancelled.push(...segments),
  });
  pipeline.resume();
  return { pipeline, steps, cancelled };
}

const result = (sequence: number, choice: number) => ({ sequence, choices: Int32Array.of(choice) });

test('each segment of a step gets its own result, and can be cancelled alone', async () => {
  const { pipeline, steps, cancelled } = start();
  const { id, results } = pipeline.submit([segment(1), segment(2), segment(3)]);
  expect(steps).toMatchObject([{ id, epoch: 1 }]);
  pipeline.cancel([{ step: id, sequence: 2 }]);
  expect(cancelled).toEqual([{ step: id, sequence: 2 }]);
  await expect(results[1]).rejects.toMatchObject({ code: 'cancelled' });
  pipeline.finished({ id, epoch: 1 }, [result(3, 30)]);
  expect((await results[2])?.choices[0]).toBe(30);
  expect(pipeline.inFlight).toBe(1);
  // The first segment's result may come with another message, and twice.
  pipeline.finished({ id, epoch: 1 }, [result(1, 10), result(2, 20)]);
  pipeline.finished({ id, epoch: 1 }, [result(1, 11)]);
  expect((await results[0])?.choices[0]).toBe(10);
  expect(pipeline.inFlight).toBe(0);
});

test('what comes of an old route is dropped, and its steps fail', async () => {
  const { pipeline } = start(1);
  const { id, results } = pipeline.submit([segment(1)]);
  const steps: Step[] = [];
  pipeline.use({ epoch: 2, submit: (step) => void steps.push(step), cancel: () => undefined });
  await expect(results[0]).rejects.toMatchObject({ code: 'route' });
  const again = pipeline.submit([segment(1)]);
  pipeline.finished({ id: again.id, epoch: 1 }, [result(1, 5)]);
  pipeline.failed({ id: again.id, epoch: 1 }, new Error('of the old route'));
  pipeline.finished({ id, epoch: 1 }, [result(1, 5)]);
  pipeline.finished({ id: again.id, epoch: 2 }, [result(1, 6)]);
  expect((await again.results[0])?.choices[0]).toBe(6);
  // What was made for the old route is not sent through the new one.
  const late = pipeline.submit([segment(1)], { epoch: 1 });
  await expect(late.results[0]).rejects.toMatchObject({ code: 'route' });
  expect(steps).toHaveLength(1);
});

test('whoever waits for a route gets the next one that is prepared', async () => {
  const { pipeline } = start(1);
  expect(await pipeline.ready()).toBe(1);
  pipeline.suspend();
  const waiting = pipeline.ready();
  let isReady = false;
  void waiting.then(() => (isReady = true));
  pipeline.use({ epoch: 7, submit: () => undefined, cancel: () => undefined });
  await new Promise((resolve) => setImmediate(resolve));
  expect(isReady).toBe(false);
  pipeline.resume();
  expect(await waiting).toBe(7);
});

test('a broken pipeline fails everything, then and later, with the first reason', async () => {
  const { pipeline } = start();
  const { results } = pipeline.submit([segment(1), segment(2)]);
  pipeline.suspend();
  const waiting = pipeline.ready().catch((error: CoordinatorError) => error.message);
  pipeline.break(new Error('first'));
  pipeline.break(new Error('second'));
  expect(await waiting).toBe('first');
  await expect(results[1]).rejects.toMatchObject({ code: 'route' });
  await expect(pipeline.submit([segment(1)]).results[0]).rejects.toThrow('first');
  await expect(pipeline.ready()).rejects.toThrow('first');
  expect(pipeline.inFlight).toBe(0);
});

test('a route that cannot take a step fails that step', async () => {
  const pipeline = new Pipeline();
  pipeline.use({
    epoch: 1,
    submit: () => Promise.reject(new Error('no room')),
    cancel: () => undefined,
  });
  await expect(pipeline.submit([segment(1)]).results[0]).rejects.toThrow('no room');
});

test('pages are moved when the last stage has done so, whoever is cancelled', async () => {
  const { pipeline, steps } = start();
  const copies = [{ from: 0, to: 2, count: 1 }];
  let isDone = false;
  const moved = pipeline.move(copies).then(() => (isDone = true));
  const [step] = steps as [Step];
  expect(step).toMatchObject({ segments: [], copies, inOrder: true });
  pipeline.cancel([{ step: step.id, sequence: 1 }]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(isDone).toBe(false);
  pipeline.finished(step, []);
  await moved;
  expect(pipeline.inFlight).toBe(0);
});

test('pages that could not be moved, or on other stages, are not where they should be', async () => {
  const { pipeline, steps } = start();
  const copies = [{ from: 0, to: 2, count: 1 }];
  const failed = pipeline.move(copies);
  pipeline.failed(steps[0]!, new Error('no'));
  await expect(failed).rejects.toThrow('no');
  const late = pipeline.move(copies);
  pipeline.suspend();
  await expect(late).rejects.toMatchObject({ code: 'route' });
});
