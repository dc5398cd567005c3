import os from 'node:os';
import type { KeyedPage, PageCopy } from '../../step/pages.js';
import type { Sampling } from '../../step/sampling.js';
import {
  mostLogprobs,
  wantLogprobs,
  type Segment,
  type SegmentResult,
  type Step,
  type TokenLogprobs,
} from '../../step/step.js';
import {
  decodeStepBody,
  encodeStepBody,
  type Messages,
  type StepBody,
} from '../messages/messages.js';
import type * as wire from '../messages/types.js';
import { TransportError } from '../wire/errors.js';
import { joinKeys, splitKeys } from './page-keys.js';

if (os.endianness() !== 'LE') throw new Error('daisychain needs a little-endian machine');

/** What of a step travels in the payload, before the hidden states. */
export function encodeBody(step: Step): Uint8Array {
  const { segments, calibratesKv = false, inOrder = false, copies = [], keeps = [] } = step;
  const pages = Int32Array.from(copies.flatMap(({ from, to, count }) => [from, to, count]));
  return encodeStepBody({
    segments: segments.map(segmentMessage),
    calibratesKv,
    inOrder,
    copies: toBytes(pages),
    keptPages: toBytes(Int32Array.from(keeps, ({ page }) => page)),
    keptKeys: joinKeys(keeps.map(({ key }) => key)),
  });
}

function segmentMessage({ visible, state, ...segment }: Segment): wire.Segment {
  return {
    sequence: segment.sequence,
    tokens: toBytes(segment.tokens),
    positions: toBytes(segment.positions),
    cells: toBytes(segment.cells),
    windowStart: visible.windowStart,
    windowLength: visible.windowLength,
    visibleCounts: toBytes(visible.counts),
    visibleRanges: toBytes(visible.ranges),
    follows: segment.follows,
    sampling: segment.sampling,
    recentTokens: toBytes(segment.recentTokens),
    want: segment.want,
    ...(state ? { state: { read: state.read + 1, write: state.write } } : {}),
  };
}

/**
 * A step as it arrived, with arrays of its own. It is well-formed: whether it makes sense on a stage is for that to say.
 * @param body `bodyBytes` of the payload
 * @throws TransportError 'garbage'
 */
export function readStep({ id, epoch }: Messages['step'], body: Uint8Array): Step {
  const message = demand(decodeStepBody(body), 'a body that is none');
  const segments = message.segments.map(readSegment);
  const { calibratesKv, inOrder } = message;
  const copies = readCopies(message.copies);
  const sequences = new Set(segments.map(({ sequence }) => sequence));
  demand(id > 0, 'no id');
  demand(sequences.size === segments.length, 'its sequences');
  const keeps = readKeeps(message);
  const kinds = [segments, copies, keeps].filter(({ length }) => length > 0);
  const isOne = kinds.length === 1 || (kinds.length === 0 && inOrder);
  demand(isOne, 'not one of segments, copies and pages to keep');
  demand(!calibratesKv || segments.length === 1, 'several segments to calibrate by');
  return {
    ...{ id, epoch, segments, calibratesKv },
    ...(copies.length > 0 ? { copies } : {}),
    ...(keeps.length > 0 ? { keeps } : {}),
    ...(inOrder ? { inOrder } : {}),
  };
}

function readKeeps({ keptPages, keptKeys }: StepBody): KeyedPage[] {
  const pages = fromBytes(keptPages);
  const keys = demand(splitKeys(keptKeys), 'keys that are none');
  demand(pages.length === keys.length, 'not a key for every page');
  return keys.map((key, i) => ({ key, page: pages[i] as number }));
}

function readCopies(bytes: Uint8Array): PageCopy[] {
  const pages = fromBytes(bytes);
  demand(pages.length % 3 === 0, 'copies that are none');
  return Array.from({ length: pages.length / 3 }, (_, i) => {
    const [from = 0, to = 0, count = 0] = pages.subarray(3 * i);
    return { from, to, count };
  });
}

function readSegment(message: wire.Segment): Segment {
  const { sequence, windowStart, windowLength, follows, sampling, state } = message;
  const tokens = fromBytes(message.tokens);
  const positions = fromBytes(message.positions);
  const cells = fromBytes(message.cells);
  const counts = fromBytes(message.visibleCounts);
  const ranges = fromBytes(message.visibleRanges);
  const want = Uint8Array.from(message.want);
  const rows = tokens.length;
  demand(sequence > 0 && rows > 0, 'a segment of no sequence, or without tokens');
  demand(
    [positions, cells, counts, want].every(({ length }) => length === rows),
    `arrays that are not of ${rows} tokens`,
  );
  demand(countsRanges(counts, ranges), 'ranges that are not as many as its tokens see');
  demand(
    want.every((each) => each <= wantLogprobs(mostLogprobs)),
    'a wish that nobody knows',
  );
  demand(isNumeric(sampling), 'sampling that is no number');
  return {
    sequence,
    tokens,
    positions,
    cells,
    visible: { windowStart, windowLength, counts, ranges },
    ...(state ? { state: { read: state.read - 1, write: state.write } } : {}),
    follows,
    sampling,
    recentTokens: fromBytes(message.recentTokens),
    want,
  };
}

function countsRanges(counts: Int32Array, ranges: Int32Array): boolean {
  let all = 0;
  for (const count of counts) {
    if (count < 0) return false;
    all += count;
  }
  return ranges.length === 2 * all;
}

function isNumeric({ temperature, typicalP, topP, minP, repetitionPenalty }: Sampling): boolean {
  return [temperature, typicalP, topP, minP, repetitionPenalty].every(Number.isFinite);
}

/** What the last stage gives for a step. */
export interface StepResult {
  readonly id: number;
  readonly epoch: number;
  readonly results: readonly SegmentResult[];
}

/** The message of a step's results. It refers to their arrays: send it before they change. */
export function resultMessage(
  stage: number,
  { id, epoch }: Pick<Step, 'id' | 'epoch'>,
  results: readonly SegmentResult[],
): Messages['result'] {
  const segments = results.map(({ sequence, choices, logprobs = [] }) => ({
    sequence,
    choices: toBytes(choices),
    logprobs: logprobs.map(logprobsMessage),
  }));
  return { stage, id, epoch, segments };
}

function logprobsMessage(logprobs: TokenLogprobs | undefined): wire.TokenLogprobs {
  return {
    wanted: logprobs !== undefined,
    chosen: logprobs?.chosen ?? 0,
    topTokens: toBytes(logprobs?.topTokens ?? nothing),
    top: toBytes(logprobs?.top ?? nothing),
  };
}

const nothing = new Int32Array(0);

/** @throws TransportError 'garbage' */
export function readResult({ id, epoch, segments }: Messages['result']): StepResult {
  return { id, epoch, results: segments.map(readSegmentResult) };
}

function readSegmentResult(message: wire.SegmentResult): SegmentResult {
  const { sequence } = message;
  const choices = fromBytes(message.choices);
  if (message.logprobs.length === 0) return { sequence, choices };
  demand(
    message.logprobs.length === choices.length,
    `log-probabilities that are not of ${choices.length} choices`,
  );
  return { sequence, choices, logprobs: message.logprobs.map(readLogprobs) };
}

function readLogprobs({
  wanted,
  chosen,
  topTokens,
  top,
}: wire.TokenLogprobs): TokenLogprobs | undefined {
  demand(
    topTokens.byteLength === top.byteLength && topTokens.byteLength <= 4 * mostLogprobs,
    'log-probabilities that are not of their tokens',
  );
  if (!wanted) return undefined;
  return { chosen, topTokens: fromBytes(topTokens), top: new Float32Array(fromBytes(top).buffer) };
}

/** The bytes of an array, little-endian, without a copy. */
export function toBytes({ buffer, byteOffset, byteLength }: Int32Array | Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** An array of its own. @throws TransportError 'garbage' when the bytes are not whole numbers of 4 */
export function fromBytes(bytes: Uint8Array): Int32Array {
  demand(bytes.byteLength % 4 === 0, 'an array of broken length');
  const values = new Int32Array(bytes.byteLength / 4);
  toBytes(values).set(bytes);
  return values;
}

function demand<Value>(value: Value | undefined | false, what: string): Value {
  if (value === undefined || value === false)
    throw new TransportError('garbage', `a step with ${what}`);
  return value;
}
