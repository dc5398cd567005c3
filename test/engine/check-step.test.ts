import { expect, test } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import { checkStep } from '../../engine/check-step.js';
import { penaltyReach, recentTokens } from '../../engine/sampling/recent-tokens.js';
import { randomTokens } from '../../model/random-tokens.js';
import type { PageCopy } from '../../step/pages.js';
import { greedy } from '../../step/sampling.js';
import { mostLogprobs, wantLogprobs, type Segment, type Step } from '../../step/step.js';

const limits = { states: 0, vocabulary: 300, cells: 512, movesPages: true, maxStepRows: 16 };

function segmentOf(count: number, change: Partial<Segment> = {}): Segment {
  const of = { sequence: 1, text: randomTokens(count, 300), first: 0, count } as const;
  const cells = { start: 0, length: 256 };
  return { ...causalSegment({ ...of, cells, choices: 'last', sampling: greedy }), ...change };
}

function stepOf(...segments: Segment[]): Step {
  return { id: 1, epoch: 1, segments };
}

function moving(...copies: PageCopy[]): Step {
  return { ...stepOf(), copies };
}

const segment = segmentOf(4);
const { visible } = segment;

test('a step that makes sense passes', () => {
  checkStep(stepOf(segment, segmentOf(12, { sequence: 2 })), limits);
  checkStep(
    stepOf({ ...segment, want: new Uint8Array(4).fill(wantLogprobs(mostLogprobs)) }),
    limits,
  );
});

const bad: Record<string, Step> = {
  'without segments': stepOf(),
  'with more rows than the stage takes': stepOf(segmentOf(9), segmentOf(8, { sequence: 2 })),
  'with two segments of one sequence': stepOf(segment, segmentOf(2)),
  'without tokens': stepOf(segmentOf(0)),
  'that calibrates with two': {
    ...stepOf(segment, segmentOf(2, { sequence: 2 })),
    calibratesKv: true,
  },
  'with copies and segments': { ...stepOf(segment), copies: [{ from: 0, to: 1, count: 1 }] },
  'with very many copies': moving(...new Array<PageCopy>(2000).fill({ from: 0, to: 1, count: 1 })),
  'that copies no page': moving({ from: 0, to: 1, count: 0 }),
  'that copies a page that is not there': moving({ from: 0, to: 2, count: 1 }),
  'that copies pages to themselves': moving({ from: 0, to: 0, count: 1 }),
  'that copies half a page': moving({ from: 0.5, to: 1, count: 1 }),
  ...Object.fromEntries(
    Object.entries({
      'a token beyond the vocabulary': { tokens: Int32Array.of(1, 2, 3, 300) },
      'a negative token': { tokens: Int32Array.of(1, -2, 3, 4) },
      'a negative position': { positions: Int32Array.of(-1, 0, 1, 2) },
      'too few positions': { positions: new Int32Array(3) },
      'a cell outside the window': { cells: Int32Array.of(0, 1, 2, 256) },
      'too many cells': { cells: new Int32Array(5) },
      'an unknown want': { want: Uint8Array.of(0, 0, 0, wantLogprobs(mostLogprobs) + 1) },
      'too few wants': { want: new Uint8Array(3) },
      'a window beyond the cells': { visible: { ...visible, windowStart: 400 } },
      'an empty window': { visible: { ...visible, windowLength: 0 } },
      'too few ranges': { visible: { ...visible, ranges: visible.ranges.subarray(2) } },
      'a range that ends before it begins': {
        visible: { ...visible, ranges: Int32Array.of(0, 1, 0, 2, 0, 3, 4, 4) },
      },
      'a range beyond the window': {
        visible: { ...visible, ranges: Int32Array.of(0, 1, 0, 2, 0, 3, 0, 257) },
      },
      'a negative count': { visible: { ...visible, counts: Int32Array.of(1, 1, 3, -1) } },
      'a temperature that is no number': { sampling: { ...greedy, temperature: NaN } },
    } satisfies Record<string, Partial<Segment>>).map(([name, change]) => [
      `with ${name}`,
      stepOf({ ...segment, ...change }),
    ]),
  ),
};

test.each(Object.entries(bad))('a step %s is refused', (_, step) => {
  expect(() => checkStep(step, limits)).toThrow(
    expect.objectContaining({ name: 'EngineError', code: 'step' }),
  );
});

test('pages are copied only where they can be moved', () => {
  const step = moving({ from: 0, to: 1, count: 1 });
  checkStep(step, limits);
  expect(() => checkStep(step, { ...limits, movesPages: false })).toThrow(/cannot be copied/);
});

test('a text of 130,000 tokens is checked like any other', () => {
  const count = 130_000;
  const cells = { start: 0, length: 131_072 };
  const sampling = { ...greedy, repetitionPenalty: 1.1 };
  const text = randomTokens(count, 300);
  const long = causalSegment({
    sequence: 1,
    text,
    first: 0,
    count,
    cells,
    choices: 'all',
    sampling,
  });
  checkStep(stepOf(long), { ...limits, cells: 131_072, maxStepRows: count });
  expect([...recentTokens(long, count - 1)]).toEqual([...text.slice(-penaltyReach)]);
  const last = { ...long, tokens: long.tokens.with(count - 1, 300) };
  expect(() => checkStep(stepOf(last), { ...limits, cells: 131_072, maxStepRows: count })).toThrow(
    /token ids beyond 300/,
  );
});

test('the repetition penalty sees as many tokens wherever the segment begins', () => {
  const text = randomTokens(200, 300);
  const sampling = { ...greedy, repetitionPenalty: 1.1 };
  const cells = { start: 0, length: 256 };
  for (const [first, count] of [
    [0, 10],
    [30, 5],
    [30, 100],
    [63, 1],
    [64, 1],
    [150, 50],
  ] as const) {
    const of = { sequence: 1, text, first, count, cells, choices: 'all', sampling } as const;
    const end = first + count;
    expect([...recentTokens(causalSegment(of), count - 1)]).toEqual([
      ...text.slice(Math.max(0, end - penaltyReach), end),
    ]);
  }
});
