import { describe, expect, test } from 'vitest';
import { bf16 } from '../../../transport/wire/codecs/bf16.js';
import type { Codec } from '../../../transport/wire/codecs/codec.js';
import { f16 } from '../../../transport/wire/codecs/f16.js';
import { f32 } from '../../../transport/wire/codecs/f32.js';
import { int8 } from '../../../transport/wire/codecs/int8.js';
import { TransportError } from '../../../transport/wire/errors.js';
import { encodeBody, toBytes } from '../../../transport/protocol/steps.js';
import {
  linkWindow,
  TensorReceiver,
  TensorSender,
} from '../../../transport/protocol/tensor-link.js';
import { Arrivals } from '../support/arrivals.js';
import { FrameChannel } from '../support/frame-channels.js';
import { randomNumbers } from '../support/random.js';
import { crowdOf, stepOf } from '../support/steps.js';

const slots = 4;
const slotBytes = 4096;

function link(codec: Codec, rowSize: number) {
  const { near, far } = FrameChannel.pair(slots, slotBytes);
  const arrivals = new Arrivals();
  const receiver = new TensorReceiver(far, codec, rowSize, arrivals.take);
  const sender = new TensorSender(near, codec, rowSize);
  return { near, sender, receiver, arrivals };
}

function hiddenStates(rows: number, rowSize: number): Float32Array {
  const random = randomNumbers(rows + rowSize);
  return Float32Array.from({ length: rows * rowSize }, () => random() - 0.5);
}

/** What is left of hidden states by a codec, all rows in one piece. */
function decodedBy(codec: Codec, values: Float32Array, rowSize: number): Float32Array {
  const rows = values.length / rowSize;
  const bytes = new Uint8Array(codec.encodedBytes(rows, rowSize));
  codec.encode(values, rows, rowSize, bytes);
  const decoded = new Float32Array(values.length);
  codec.decode(bytes, rows, rowSize, decoded);
  return decoded;
}

/** A matcher would look at each value. */
function expectValues(values: Float32Array, expected: Float32Array): void {
  expect(Buffer.compare(toBytes(values), toBytes(expected))).toBe(0);
}

describe('a link over frames in slots of 4 kB', () => {
  // Rows that share a slot, that fill most of one, and that do not fit one; also of an odd number of bytes.
  test.each([
    { codec: f16, rowSize: 64 },
    { codec: f32, rowSize: 1000 },
    { codec: bf16, rowSize: 4096 },
    { codec: int8, rowSize: 8191 },
  ])('carries steps of all lengths, $rowSize values of $codec.name in a row', async (each) => {
    const { codec, rowSize } = each;
    const { sender, arrivals } = link(codec, rowSize);
    for (const [i, rows] of [1, 170, 3, 1, 33].entries()) {
      const hidden = hiddenStates(rows, rowSize);
      await sender.send(stepOf(rows, i + 1), hidden);
      const arrival = await arrivals.nth(i);
      expect(arrival.step).toEqual(stepOf(rows, i + 1));
      expectValues(arrival.hidden, decodedBy(codec, hidden, rowSize));
      arrival.release();
    }
  });

  test('carries steps of 8,192 tokens', async () => {
    const rowSize = 16;
    const { sender, arrivals } = link(f16, rowSize);
    const step = stepOf(8192);
    expect(encodeBody(step).byteLength).toBeGreaterThan(40 * slotBytes);
    for (const [i, hidden] of [new Float32Array(0), hiddenStates(8192, rowSize)].entries()) {
      await sender.send(step, hidden);
      const arrival = await arrivals.nth(i);
      expect(arrival.step).toEqual(step);
      expectValues(arrival.hidden, decodedBy(f16, hidden, rowSize));
      arrival.release();
    }
  });

  test('carries steps of several sequences without hidden states', async () => {
    const { sender, arrivals } = link(f16, 64);
    await sender.send(crowdOf([200, 1, 90]), new Float32Array(0));
    const { step, hidden } = await arrivals.nth(0);
    expect([step, hidden.length]).toEqual([crowdOf([200, 1, 90]), 0]);
  });

  test('counts the time that a step waits for slots', async () => {
    const { near, sender, arrivals } = link(f16, 64);
    near.stream.suspend();
    const sent = sender.send(stepOf(1), hiddenStates(1, 64));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const waited = sender.sendMs;
    expect(waited).toBeGreaterThan(10);
    near.end(new TransportError('closed', 'far: done'));
    await sent;
    expect(sender.sendMs).toBeGreaterThanOrEqual(waited);
    expect(arrivals.all.length).toBe(0);
  });
});

describe('when the link ends', () => {
  test('in the middle of a step, all sends settle', async () => {
    const { near, sender, arrivals } = link(f32, 1000);
    const sends = Array.from({ length: 3 * linkWindow }, (_, i) =>
      sender.send(stepOf(50, i + 1), hiddenStates(50, 1000)),
    );
    await arrivals.nth(1);
    near.end(new TransportError('closed', 'far: connection closed'));
    await Promise.all(sends);
    await sender.send(stepOf(1, 99), hiddenStates(1, 1000));
    expect(arrivals.all.length).toBeLessThan(3 * linkWindow);
  });
});
