import { afterEach, describe, expect, test } from 'vitest';
import type { Codec } from '../../../transport/wire/codecs/codec.js';
import { f16 } from '../../../transport/wire/codecs/f16.js';
import { f32 } from '../../../transport/wire/codecs/f32.js';
import type { Connection } from '../../../transport/wire/connection.js';
import type { Step } from '../../../step/step.js';
import { encodeBody } from '../../../transport/protocol/steps.js';
import {
  linkWindow,
  TensorReceiver,
  TensorSender,
} from '../../../transport/protocol/tensor-link.js';
import { rowsAt, TcpChannel } from '../../../transport/wire/tensor-channel.js';
import { Arrivals } from '../support/arrivals.js';
import { randomNumbers } from '../support/random.js';
import { closeAll, connectionPair } from '../support/sockets.js';
import { crowdOf, stepOf } from '../support/steps.js';

afterEach(closeAll);

const rowSize = 96;

interface Link {
  readonly sender: TensorSender;
  readonly receiver: TensorReceiver;
  readonly arrivals: Arrivals;
  readonly near: Connection;
  readonly far: Connection;
}

async function link(codec: Codec): Promise<Link> {
  const { near, far } = await connectionPair();
  const arrivals = new Arrivals();
  const receiver = new TensorReceiver(new TcpChannel(far), codec, rowSize, arrivals.take);
  return {
    sender: new TensorSender(new TcpChannel(near), codec, rowSize),
    receiver,
    arrivals,
    near,
    far,
  };
}

function hiddenStates(rows: number, seed: number): Float32Array {
  const random = randomNumbers(seed);
  return Float32Array.from({ length: rows * rowSize }, () => (random() - 0.5) * 10);
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe('a link', () => {
  test.each([f32, f16])('carries many steps in order, in $name', async (codec) => {
    const { sender, arrivals, receiver } = await link(codec);
    const count = 200;
    // One buffer for all, as a stage does it: it is free when `send` has returned.
    const output = new Float32Array(64 * rowSize);
    const sending = (async () => {
      for (let id = 1; id <= count; id++) {
        const rows = 1 + (id % 64);
        output.set(hiddenStates(rows, id));
        await sender.send(stepOf(rows, id), output.subarray(0, rows * rowSize));
        output.fill(NaN);
      }
    })();
    for (let id = 1; id <= count; id++) {
      const { step, hidden, release } = await arrivals.nth(id - 1);
      const rows = 1 + (id % 64);
      expect(step).toEqual(stepOf(rows, id));
      const sent = hiddenStates(rows, id);
      expect(hidden.length).toBe(sent.length);
      // Half the last place of a half: relative to the value, and fixed where halves are subnormal.
      const [relative, least] = codec === f32 ? [0, 0] : [2 ** -11, 2 ** -25];
      const wrong = sent.findIndex((value, i) => {
        return !(
          Math.abs(value - (hidden[i] ?? NaN)) <= Math.max(Math.abs(value) * relative, least)
        );
      });
      expect(wrong).toBe(-1);
      release();
    }
    await sending;
    expect(sender.encodeMs).toBeGreaterThan(0);
    expect(receiver.decodeMs).toBeGreaterThan(0);
  });

  test('keeps the order of sends that nobody has waited for', async () => {
    const { sender, arrivals } = await link(f32);
    const count = 5 * linkWindow;
    const sends = Array.from({ length: count }, (_, i) =>
      sender.send(stepOf(1, i + 1), hiddenStates(1, i + 1)),
    );
    for (let i = 0; i < count; i++) {
      const { step, hidden, release } = await arrivals.nth(i);
      expect(step.id).toBe(i + 1);
      expect(hidden).toEqual(hiddenStates(1, i + 1));
      release();
    }
    await Promise.all(sends);
  });

  test('carries steps without hidden states', async () => {
    const { sender, arrivals } = await link(f16);
    for (let id = 1; id <= 3; id++) {
      await sender.send(stepOf(2, id), new Float32Array(0));
      const { step, hidden, release } = await arrivals.nth(id - 1);
      expect(step.id).toBe(id);
      expect(hidden.length).toBe(0);
      release();
    }
  });

  test('carries steps of several sequences', async () => {
    const { sender, arrivals } = await link(f32);
    await sender.send(crowdOf([4, 1, 7]), hiddenStates(12, 1));
    const { step, hidden } = await arrivals.nth(0);
    expect(step).toEqual(crowdOf([4, 1, 7]));
    expect(hidden).toEqual(hiddenStates(12, 1));
  });

  test.each([8192, 32_768])('carries steps of %i tokens', async (rows) => {
    const { sender, arrivals } = await link(f16);
    await sender.send(stepOf(rows), new Float32Array(0));
    const { step, hidden, release } = await arrivals.nth(0);
    expect([encodeBody(step), hidden.length]).toEqual([encodeBody(stepOf(rows)), 0]);
    release();
    await sender.send(stepOf(rows), new Float32Array(rows * rowSize).fill(1));
    const { step: second, hidden: ones } = await arrivals.nth(1);
    expect(encodeBody(second)).toEqual(encodeBody(stepOf(rows)));
    expect([ones.length, ones.every((value) => value === 1)]).toEqual([rows * rowSize, true]);
  });

  test('carries a body, codec bytes and nothing more as payload', async () => {
    const { near, far } = await connectionPair();
    const size = new Promise((resolve) => {
      far.onMessage = (_, payload) => resolve(payload.byteLength);
    });
    await new TensorSender(new TcpChannel(near), f16, rowSize).send(stepOf(3), hiddenStates(3, 1));
    const body = encodeBody(stepOf(3));
    expect(await size).toBe(rowsAt(body.byteLength) + 3 * rowSize * 2);
  });
});

describe('a receiver that is slow', () => {
  test('makes the sender wait after a window of steps', async () => {
    const { sender, arrivals } = await link(f32);
    let sent = 0;
    const sending = (async () => {
      for (let id = 1; id <= 3 * linkWindow; id++) {
        await sender.send(stepOf(1, id), hiddenStates(1, id));
        sent = id;
      }
    })();
    await arrivals.nth(linkWindow - 1);
    await turns(50);
    expect(arrivals.all.length).toBe(linkWindow);
    expect(sent).toBe(linkWindow);

    arrivals.all[0]?.release();
    await arrivals.nth(linkWindow);
    await turns(50);
    expect(arrivals.all.length).toBe(linkWindow + 1);

    for (let i = 1; i < 3 * linkWindow; i++) (await arrivals.nth(i)).release();
    await sending;
    expect(arrivals.all.map(({ step }) => step.id)).toEqual(
      Array.from({ length: 3 * linkWindow }, (_, i) => i + 1),
    );
  });

  test('keeps what it has not released', async () => {
    const { near, far } = await connectionPair();
    const held: Float32Array[] = [];
    const arrived = new Promise<void>((resolve) => {
      new TensorReceiver(new TcpChannel(far), f32, rowSize, (_, hidden) => {
        if (held.push(hidden) === linkWindow) resolve();
      });
    });
    const sender = new TensorSender(new TcpChannel(near), f32, rowSize);
    for (let id = 1; id <= linkWindow; id++) await sender.send(stepOf(2, id), hiddenStates(2, id));
    await arrived;
    for (const [i, hidden] of held.entries()) expect(hidden).toEqual(hiddenStates(2, i + 1));
  });

  test('does not share memory that it has released twice', async () => {
    const { near, far } = await connectionPair();
    const held: Float32Array[] = [];
    const arrived = new Promise<void>((resolve) => {
      new TensorReceiver(new TcpChannel(far), f32, rowSize, ({ id }, hidden, release) => {
        if (id === 1) {
          release();
          release();
        } else if (held.push(hidden) === 2) {
          resolve();
        }
      });
    });
    const sender = new TensorSender(new TcpChannel(near), f32, rowSize);
    for (let id = 1; id <= 3; id++) await sender.send(stepOf(1, id), hiddenStates(1, id));
    await arrived;
    expect(held).toEqual([hiddenStates(1, 2), hiddenStates(1, 3)]);
  });

  test('does not hold up whoever waits for it when the connection ends', async () => {
    const { sender, near } = await link(f32);
    for (let id = 1; id <= linkWindow; id++) await sender.send(stepOf(1, id), hiddenStates(1, id));
    const waiting = [99, 100].map((id) => sender.send(stepOf(1, id), hiddenStates(1, id)));
    near.close('done');
    await Promise.all(waiting);
    await sender.send(stepOf(1, 101), hiddenStates(1, 101));
  });
});

describe('a step that cannot be sent', () => {
  test.each([
    ['is too long for a frame', { ...f32, encodedBytes: () => 2 ** 28 }, { code: 'garbage' }],
    [
      'cannot be encoded',
      {
        ...f32,
        encode: () => {
          throw new Error('no');
        },
      },
      { message: 'no' },
    ],
  ])('because it %s is refused, and the link goes on', async (_, broken, error) => {
    const { near, far } = await connectionPair();
    const arrivals = new Arrivals();
    new TensorReceiver(new TcpChannel(far), f32, rowSize, arrivals.take);
    const sender = new TensorSender(new TcpChannel(near), broken, rowSize);
    // More often than there are credits, and some of them at once.
    const sends = await Promise.allSettled(
      Array.from({ length: 2 * linkWindow }, (_, i) =>
        sender.send(stepOf(3, i + 1), hiddenStates(3, 1)),
      ),
    );
    for (const send of sends) expect(send).toMatchObject({ status: 'rejected', reason: error });
    await sender.send(stepOf(1), new Float32Array(0));
    expect((await arrivals.nth(0)).step.id).toBe(1);
  });
});

/** Sends a step as a sender would, but for what is changed. */
function sendRaw(
  connection: Connection,
  step: Step,
  rows: Uint8Array,
  changes: { readonly bodyBytes?: number; readonly body?: Uint8Array } = {},
): void {
  const body = changes.body ?? encodeBody(step);
  const payload = Buffer.alloc(rowsAt(body.byteLength) + rows.byteLength);
  payload.set(body);
  payload.set(rows, rowsAt(body.byteLength));
  const { id, epoch } = step;
  const { bodyBytes = body.byteLength } = changes;
  connection.send('step', { id, epoch, bodyBytes, receipt: false }, payload);
}

describe('a sender that breaks the rules', () => {
  const encoded = (rows: number) => new Uint8Array(f32.encodedBytes(rows, rowSize));

  test.each([
    ['too few hidden states', stepOf(2), encoded(1)],
    ['too many hidden states', stepOf(2), encoded(3)],
    ['half a value', stepOf(2), encoded(2).subarray(1)],
  ])('is cut off for %s', async (_, step, payload) => {
    const { near, far, arrivals } = await link(f32);
    sendRaw(near, step, payload);
    expect(await far.closed).toMatchObject({ code: 'garbage' });
    expect(arrivals.all.length).toBe(0);
  });

  test.each([
    ['no body', { body: new Uint8Array(0) }],
    ['a body that is none', { body: new Uint8Array(8).fill(7) }],
    ['a body that is shorter than it says', { bodyBytes: 5000 }],
    ['a body of 4 GB', { bodyBytes: 2 ** 32 - 1 }],
  ])('is cut off for %s', async (_, changes) => {
    const { near, far, arrivals } = await link(f32);
    sendRaw(near, stepOf(2), encoded(2), changes);
    expect(await far.closed).toMatchObject({ code: 'garbage' });
    expect(arrivals.all.length).toBe(0);
  });

  test('is cut off for messages that do not belong on a link', async () => {
    const { near, far } = await link(f32);
    near.send('cancel', { steps: [1], sequences: [1] });
    expect(await far.closed).toMatchObject({ code: 'garbage' });
  });

  test('is cut off for more steps than the window', async () => {
    const { near, far, arrivals } = await link(f32);
    for (let id = 1; id <= linkWindow + 1; id++) sendRaw(near, stepOf(1, id), encoded(1));
    expect(await far.closed).toMatchObject({ code: 'garbage' });
    expect(arrivals.all.length).toBe(linkWindow);
  });
});
