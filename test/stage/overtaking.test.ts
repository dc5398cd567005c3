import { expect, test } from 'vitest';
import { overtakingStep } from '../../stage/overtaking.js';
import type { Segment, StateSlots, Step } from '../../step/step.js';
import { segmentOf } from './support/segments.js';

function stepOf(...segments: Segment[]): Step {
  return { id: 1, epoch: 1, segments };
}

const tokens = (count: number) => Array.from({ length: count }, (_, i) => i);
const long = (sequence: number) => stepOf(segmentOf(tokens(20), 0, sequence));
const short = (...sequences: number[]) =>
  stepOf(...sequences.map((sequence) => segmentOf(tokens(4), 0, sequence)));

test('short steps of other sequences overtake, the first before the others', () => {
  expect(overtakingStep(long(1), [])).toBe(-1);
  expect(overtakingStep(long(1), [short(2), short(3)])).toBe(0);
  expect(overtakingStep(long(1), [short(1), short(2)])).toBe(1);
  expect(overtakingStep(long(1), [short(2, 1), short(3)])).toBe(1);
  expect(overtakingStep(long(1), [long(2), short(3)])).toBe(1);
});

test('nothing overtakes what came before it of its own sequence', () => {
  expect(overtakingStep(long(1), [long(2), short(2)])).toBe(-1);
  expect(overtakingStep(long(1), [short(1, 2), short(2, 3), short(3)])).toBe(-1);
});

test('steps of many rows do not overtake, however many segments they have', () => {
  expect(overtakingStep(long(1), [long(2), short(3, 4, 5, 6, 7)])).toBe(-1);
});

test('a step does not overtake one that writes what it sees, or sees what it writes', () => {
  const inCells = (of: Segment, start: number, sequence: number): Step => {
    const { visible } = of;
    const by = start - visible.windowStart;
    return stepOf({
      ...of,
      sequence,
      cells: of.cells.map((cell) => cell + by),
      visible: { ...visible, windowStart: start, ranges: visible.ranges.map((at) => at + by) },
    });
  };
  const underWay = long(1);
  const segment = segmentOf(tokens(30), 20, 2);
  // Sequence 1 has cells from 64 on, and writes 20 of them.
  expect(overtakingStep(underWay, [inCells(segment, 64, 2)])).toBe(-1);
  expect(overtakingStep(underWay, [inCells(segment, 70, 2)])).toBe(-1);
  expect(overtakingStep(underWay, [inCells(segment, 128, 2)])).toBe(0);
  // What it writes begins at cell 70 + 20.
  expect(
    overtakingStep(inCells(segmentOf(tokens(20), 0, 1), 100, 1), [inCells(segment, 90, 2)]),
  ).toBe(-1);
});

test('a step does not overtake one that has a state in common with it', () => {
  const withState = (step: Step, state: StateSlots): Step => ({
    ...step,
    segments: step.segments.map((segment) => ({ ...segment, state })),
  });
  const underWay = withState(long(1), { read: 0, write: 1 });
  for (const state of [
    { read: 1, write: 2 },
    { read: 2, write: 1 },
    { read: 2, write: 0 },
  ])
    expect(overtakingStep(underWay, [withState(short(2), state)])).toBe(-1);
  for (const state of [
    { read: 2, write: 3 },
    { read: 0, write: 2 },
  ])
    expect(overtakingStep(underWay, [withState(short(2), state)])).toBe(0);
});

test('a step overtakes what is done with other pages, and none overtakes that is to wait', () => {
  const copying = (from: number, to: number): Step => {
    const copies = [{ from, to, count: 1 }];
    return { id: 2, epoch: 1, segments: [], copies, inOrder: true };
  };
  // Sequence 5 has cells from 320 on: in page 1.
  expect(overtakingStep(long(1), [copying(0, 1), short(5)])).toBe(-1);
  expect(overtakingStep(long(1), [copying(1, 0), short(5)])).toBe(-1);
  expect(overtakingStep(long(1), [copying(2, 3), short(5)])).toBe(1);
  expect(overtakingStep(long(1), [copying(2, 3)])).toBe(-1);
  const keeping = (page: number): Step => {
    return { id: 2, epoch: 1, segments: [], keeps: [{ key: '00', page }], inOrder: true };
  };
  expect(overtakingStep(long(1), [keeping(1), short(5)])).toBe(-1);
  expect(overtakingStep(long(1), [keeping(0), short(5)])).toBe(1);
  expect(overtakingStep(long(1), [{ ...short(5), inOrder: true }, short(6)])).toBe(1);
  expect(overtakingStep({ ...long(1), inOrder: true }, [short(5)])).toBe(0);
});
