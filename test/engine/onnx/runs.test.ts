import { expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import type { IoBinding } from '../../../engine/onnx/runtime/io-binding.js';
import { AbortableRuns } from '../../../engine/onnx/steps/abortable-runs.js';
import { runsOf } from '../../../engine/onnx/steps/runs.js';

/** A step of segments of so many rows each. */
function stepOf(...counts: number[]) {
  const cells = { start: 0, length: 64 };
  const segments = counts.flatMap(
    (count) =>
      textStep(
        Array.from({ length: count }, () => 0),
        { cells },
      ).segments,
  );
  return { segments };
}

/** Runs of a step in which segments of `masked` rows need a mask, and those of `inParts` are cut. */
function runs(counts: number[], most: number, masked = 0, inParts = 0) {
  return runsOf(
    stepOf(...counts),
    ({ tokens }) => (tokens.length === masked ? undefined : 7),
    ({ tokens }) => (tokens.length === inParts ? [1, 2] : undefined),
    most,
  ).map(({ segments, firstRow, endRow, starts }) => ({
    rows: segments.map(({ tokens }) => tokens.length),
    range: [firstRow, endRow],
    starts,
  }));
}

test('segments are computed at once, as many as a graph has places for', () => {
  expect(runs([4, 1, 7], 8)).toEqual([{ rows: [4, 1, 7], range: [0, 12], starts: [7, 7, 7] }]);
  expect(runs([4, 1, 7], 2)).toEqual([
    { rows: [4, 1], range: [0, 5], starts: [7, 7] },
    { rows: [7], range: [5, 12], starts: [7] },
  ]);
  expect(runs([4, 1], 1)).toEqual([
    { rows: [4], range: [0, 4], starts: [7] },
    { rows: [1], range: [4, 5], starts: [7] },
  ]);
});

test('a segment that needs a mask is computed by itself', () => {
  expect(runs([4, 3, 7, 2, 1], 8, 3)).toEqual([
    { rows: [4], range: [0, 4], starts: [7] },
    { rows: [3], range: [4, 7], starts: undefined },
    { rows: [7, 2, 1], range: [7, 17], starts: [7, 7, 7] },
  ]);
});

test('a segment that is cut into parts is computed by itself', () => {
  expect(runs([4, 3, 7, 2, 1], 8, 2, 3)).toEqual([
    { rows: [4], range: [0, 4], starts: [7] },
    { rows: [3], range: [4, 7], starts: [7] },
    { rows: [7], range: [7, 14], starts: [7] },
    { rows: [2], range: [14, 16], starts: undefined },
    { rows: [1], range: [16, 17], starts: [7] },
  ]);
});

/** A binding that says when it runs, and ends when it is told to. */
class FakeBinding {
  runs = 0;
  end: (error?: Error) => void = () => undefined;
  readonly session = { abort: () => this.end(new Error('terminated')) };

  run(): Promise<void> {
    this.runs++;
    return new Promise((resolve, reject) => {
      this.end = (error) => (error ? reject(error) : resolve());
    });
  }

  get binding(): IoBinding {
    return this as unknown as IoBinding;
  }
}

const givenUp = { name: 'EngineError', code: 'compute', message: /given up/ };

test('a step that is given up between two runs goes no further', async () => {
  const [first, second] = [new FakeBinding(), new FakeBinding()];
  const abortable = new AbortableRuns();
  abortable.begin();
  const running = abortable.run(first.binding);
  first.end();
  await running;
  abortable.abort();
  await expect(abortable.run(second.binding)).rejects.toMatchObject(givenUp);
  expect(second.runs).toBe(0);
  abortable.begin();
  const next = abortable.run(second.binding);
  second.end();
  await next;
});

test('a run that is given up is ended, and counts as given up however it ends', async () => {
  const fake = new FakeBinding();
  const abortable = new AbortableRuns();
  abortable.begin();
  const terminated = abortable.run(fake.binding);
  abortable.abort();
  await expect(terminated).rejects.toMatchObject({ ...givenUp, cause: { message: 'terminated' } });
  abortable.begin();
  const late = abortable.run(fake.binding);
  fake.end();
  abortable.abort();
  await expect(late).rejects.toMatchObject(givenUp);
});

test('what fails by itself fails with its own error', async () => {
  const fake = new FakeBinding();
  const abortable = new AbortableRuns();
  abortable.begin();
  const running = abortable.run(fake.binding);
  fake.end(new Error('out of order'));
  await expect(running).rejects.toThrow('out of order');
});
