import { describe, expect, test } from 'vitest';
import type { Segment, SegmentResult, Step } from '../../../step/step.js';
import {
  decodeMessage,
  decodeStepBody,
  encodeMessage,
  encodeStepBody,
  type Messages,
  type StepBody,
} from '../../../transport/messages/messages.js';
import { TransportError } from '../../../transport/wire/errors.js';
import {
  encodeBody,
  fromBytes,
  readResult,
  readStep,
  resultMessage,
  toBytes,
} from '../../../transport/protocol/steps.js';
import { randomNumbers } from '../support/random.js';
import { crowdOf, stepOf } from '../support/steps.js';

function headerOf({ id, epoch }: Step): Messages['step'] {
  return { id, epoch, bodyBytes: 0, receipt: false };
}

function roundTrip(step: Step): Step {
  return readStep(headerOf(step), encodeBody(step));
}

describe('steps', () => {
  test.each([1, 2, 512, 8192])('of %i tokens arrive as they were sent', (count) => {
    expect(roundTrip(stepOf(count))).toEqual(stepOf(count));
  });

  test('of several sequences arrive as they were sent', () => {
    const step = crowdOf([4, 1, 7], 2 ** 32 - 1);
    expect(roundTrip(step)).toEqual(step);
  });

  test('that copy pages have nothing else', () => {
    const copies = [
      { from: 0, to: 7, count: 3 },
      { from: 9, to: 0, count: 2 },
    ];
    const step = { ...stepOf(1), segments: [], copies, inOrder: true };
    expect(roundTrip(step)).toEqual(step);
  });

  test('that keep pages have nothing else', () => {
    const keeps = ['a', 'b'].map((letter, page) => ({ key: letter.repeat(64), page: 7 * page }));
    const step = { ...stepOf(1), segments: [], keeps, inOrder: true };
    expect(roundTrip(step)).toEqual(step);
  });

  test('that calibrate say so', () => {
    const step = { ...stepOf(3), calibratesKv: true };
    expect(roundTrip(step)).toEqual(step);
  });

  test('have arrays of their own', () => {
    const step = stepOf(3);
    const body = encodeBody(step);
    const read = readStep(headerOf(step), body);
    body.fill(0xff);
    expect(read).toEqual(step);
  });

  test('of views into larger arrays hold only the view', () => {
    const view = Int32Array.of(1, 2, 3, 4).subarray(1, 3);
    expect(fromBytes(toBytes(view))).toEqual(Int32Array.of(2, 3));
  });
});

/** A body of which something is changed. */
function bodyWith(changes: Partial<StepBody['segments'][number]>): Uint8Array {
  const body = decodeStepBody(encodeBody(stepOf(3))) as StepBody;
  return encodeStepBody({ ...body, segments: [{ ...body.segments[0]!, ...changes }] });
}

const ints = (...values: number[]) => toBytes(Int32Array.from(values));

describe('a body that is not well-formed is refused:', () => {
  const header = headerOf(stepOf(3));
  const whole = decodeStepBody(encodeBody(stepOf(3))) as StepBody;

  test.each([
    ['nothing', new Uint8Array(0)],
    ['no body at all', Uint8Array.of(0, 1, 2)],
    ['one that ends early', encodeBody(stepOf(3)).subarray(0, -1)],
    ['without segments', encodeStepBody({ ...whole, segments: [] })],
    [
      'two segments of a sequence',
      encodeStepBody({ ...whole, segments: [0, 0].map(() => whole.segments[0]!) }),
    ],
    [
      'several segments to calibrate by',
      encodeStepBody({
        ...(decodeStepBody(encodeBody(crowdOf([1, 1]))) as StepBody),
        calibratesKv: true,
      }),
    ],
    ['no sequence', bodyWith({ sequence: 0 })],
    ['no tokens', bodyWith({ tokens: ints() })],
    ['half a token', bodyWith({ tokens: new Uint8Array(13) })],
    ['too few positions', bodyWith({ positions: ints(0, 1) })],
    ['too many cells', bodyWith({ cells: ints(0, 1, 2, 3) })],
    ['too few counts', bodyWith({ visibleCounts: ints(1, 1) })],
    ['a negative count', bodyWith({ visibleCounts: ints(3, -1, 1) })],
    ['more ranges than are counted', bodyWith({ visibleRanges: ints(0, 1, 0, 2, 0, 3, 0, 3) })],
    ['fewer ranges than are counted', bodyWith({ visibleRanges: ints(0, 1, 0, 2) })],
    ['half a range', bodyWith({ visibleRanges: ints(0, 1, 0, 2, 0) })],
    ['too few wishes', bodyWith({ want: new Uint8Array(2) })],
    ['a wish that nobody knows', bodyWith({ want: Uint8Array.of(0, 0, 23) })],
    ['no sampling', bodyWith({ sampling: undefined as never })],
    [
      'a temperature that is no number',
      bodyWith({ sampling: { ...whole.segments[0]!.sampling, temperature: NaN } }),
    ],
    [
      'an infinite penalty',
      bodyWith({ sampling: { ...whole.segments[0]!.sampling, repetitionPenalty: Infinity } }),
    ],
    ['half a copy', encodeStepBody({ ...whole, segments: [], copies: ints(0, 1) })],
    ['copies beside segments', encodeStepBody({ ...whole, copies: ints(0, 1, 1) })],
    ['a page without a key', encodeStepBody({ ...whole, segments: [], keptPages: ints(1) })],
    [
      'half a key',
      encodeStepBody({
        ...whole,
        segments: [],
        keptPages: ints(1),
        keptKeys: new Uint8Array(16),
      }),
    ],
    [
      'pages to keep beside segments',
      encodeStepBody({ ...whole, keptPages: ints(1), keptKeys: new Uint8Array(32) }),
    ],
    ['half a recent token', bodyWith({ recentTokens: new Uint8Array(2) })],
  ])('%s', (_, body) => {
    expect(() => readStep(header, body)).toThrow(TransportError);
  });

  test('a step without id', () => {
    expect(() => readStep({ ...header, id: 0 }, encodeBody(stepOf(3)))).toThrow(TransportError);
  });

  test('while its original is taken', () => {
    expect(readStep(header, bodyWith({}))).toEqual(stepOf(3));
  });
});

test('random and damaged bodies are refused, or read as well-formed steps', () => {
  const random = randomNumbers(21);
  const below = (end: number) => Math.floor(random() * end);
  const bodies = [stepOf(5), crowdOf([4, 1, 7]), stepOf(64)].map(encodeBody);
  const [rounds, outcomes] = [30_000, { read: 0, refused: 0 }];
  for (let round = 0; round < rounds; round++) {
    const original = bodies[round % bodies.length]!;
    const body =
      round % 7 === 0
        ? Uint8Array.from({ length: below(100) }, () => below(256))
        : Uint8Array.from(
            original.subarray(0, round % 5 === 0 ? below(original.length) : undefined),
          );
    for (let change = below(4); change > 0; change--) body[below(body.length)] = below(256);
    try {
      for (const segment of readStep(headerOf(stepOf(1)), body).segments) expectWellFormed(segment);
      outcomes.read++;
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      outcomes.refused++;
    }
  }
  expect(outcomes.read).toBeGreaterThan(rounds / 20);
  expect(outcomes.refused).toBeGreaterThan(rounds / 20);
});

function expectWellFormed({ tokens, positions, cells, want, visible }: Segment): void {
  const { counts, ranges } = visible;
  const lengths = [positions, cells, want, counts].map(({ length }) => length);
  if (lengths.some((length) => length !== tokens.length)) throw new Error(`lengths ${lengths}`);
  let entries = 0;
  for (const count of counts) entries += count;
  if (ranges.length !== 2 * entries) throw new Error(`${ranges.length} ends of ${entries} ranges`);
}

describe('results', () => {
  const carry = (step: Step, results: readonly SegmentResult[]) => {
    const message = decodeMessage(encodeMessage('result', resultMessage(1, step, results)));
    return readResult(message?.body as Messages['result']);
  };

  test('of several sequences arrive, with log-probabilities where they were asked for', () => {
    const step = crowdOf([1, 2, 3], 9);
    const results: SegmentResult[] = [
      { sequence: 1, choices: Int32Array.of() },
      { sequence: 2, choices: Int32Array.of(5, -1, 2 ** 31 - 1) },
      {
        sequence: 3,
        choices: Int32Array.of(7, 8, 9),
        logprobs: [
          {
            chosen: -0.25,
            topTokens: Int32Array.of(7, 3),
            top: Float32Array.of(-0.25, -2.5),
          },
          undefined,
          { chosen: -Infinity, topTokens: Int32Array.of(), top: Float32Array.of() },
        ],
      },
    ];
    expect(carry(step, results)).toEqual({ id: 9, epoch: 2 ** 32 - 1, results });
  });

  test('of 8,192 rows with 20 log-probabilities each arrive', () => {
    const rows = 8192;
    const top = Float32Array.from({ length: 20 }, (_, i) => -i);
    const logprobs = { chosen: 0, topTokens: Int32Array.from(top), top };
    const results = [
      {
        sequence: 1,
        choices: Int32Array.from({ length: rows }, (_, i) => i),
        logprobs: Array.from({ length: rows }, () => logprobs),
      },
    ];
    expect(carry(stepOf(1), results).results).toEqual(results);
  });

  const segment = {
    sequence: 1,
    choices: ints(1, 2),
    logprobs: [1, 2].map(() => ({ wanted: true, chosen: 0, topTokens: ints(1), top: ints(0) })),
  };
  test.each([
    ['half a choice', { ...segment, choices: new Uint8Array(7) }],
    ['too few log-probabilities', { ...segment, logprobs: segment.logprobs.slice(1) }],
    [
      'log-probabilities without tokens',
      { ...segment, logprobs: segment.logprobs.map((each) => ({ ...each, topTokens: ints() })) },
    ],
    [
      'too many likeliest tokens',
      {
        ...segment,
        logprobs: segment.logprobs.map((each) => ({
          ...each,
          topTokens: new Uint8Array(84),
          top: new Uint8Array(84),
        })),
      },
    ],
  ])('with %s are refused', (_, each) => {
    expect(() => readResult({ stage: 1, id: 1, epoch: 1, segments: [segment] })).not.toThrow();
    expect(() => readResult({ stage: 1, id: 1, epoch: 1, segments: [each] })).toThrow(
      TransportError,
    );
  });
});
