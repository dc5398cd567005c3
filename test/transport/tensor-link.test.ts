import { afterEach, describe, expect, test } from 'vitest';
import type { Codec } from '../../transport/codecs/codec.js';
import { f16 } from '../../transport/codecs/f16.js';
import { f32 } from '../../transport/codecs/f32.js';
import type { Connection } from '../../transport/connection.js';
import { stepMessage, type Step } from '../../transport/steps.js';
import { linkWindow, TensorReceiver, TensorSender } from '../../transport/tensor-link.js';
import { TcpChannel } from '../../transport/tensor-channel.js';
import { randomNumbers } from './support/random.js';
import { closeAll, connectionPair } from './support/sockets.js';
import { stepOf } from './support/steps.js';

afterEach(closeAll);

const rowSize = 96;

interface Arrival {
  readonly step: Step;
  /** A copy, because the link uses its memory again after `release`. */
  readonly hidden: Float32Array;
  readonly release: () => void;
}

/** What arrives at a receiver, one after the other. */
class Arrivals {
  readonly all: Arrival[] = [];
  #notice: () => void = () => undefined;

  readonly take = (step: Step, hidden: Float32Array, release: () => void): void => {
    this.all.push({ step, hidden: hidden.slice(), release });
    this.#notice();
  };

  async nth(index: number): Promise<Arrival> {
    for (;;) {
      const arrival = this.all[index];
      if (arrival) return arrival;
      await new Promise<void>((resolve) => (this.#notice = resolve));
    }
  }
}

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
      expect(step).toMatchObject({ id, tokens: stepOf(rows, id).tokens });
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

  test('carries codec bytes and nothing more as payload', async () => {
    const { near, far } = await connectionPair();
    const size = new Promise((resolve) => {
      far.onMessage = (_, payload) => resolve(payload.byteLength);
    });
    await new TensorSender(new TcpChannel(near), f16, rowSize).send(stepOf(3), hiddenStates(3, 1));
    expect(await size).toBe(3 * rowSize * 2);
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
    const waiting = sender.send(stepOf(1, 99), hiddenStates(1, 99)).catch(() => 'rejected');
    near.close('done');
    await waiting;
    await sender.send(stepOf(1, 100), hiddenStates(1, 100)).catch(() => 'rejected');
  });
});

describe('a sender that breaks the rules', () => {
  const encoded = (rows: number) => new Uint8Array(f32.encodedBytes(rows, rowSize));

  test.each([
    ['too few hidden states', stepOf(2), encoded(1)],
    ['too many hidden states', stepOf(2), encoded(3)],
    ['half a value', stepOf(2), encoded(2).subarray(1)],
  ])('is cut off for %s', async (_, step, payload) => {
    const { near, far, arrivals } = await link(f32);
    near.send('step', stepMessage(step, false), payload);
    expect(await far.closed).toMatchObject({ code: 'garbage' });
    expect(arrivals.all.length).toBe(0);
  });

  test('is cut off for arrays that are cut', async () => {
    const { near, far } = await link(f32);
    near.send('step', { ...stepMessage(stepOf(2), false), cells: new Uint8Array(7) }, encoded(2));
    expect(await far.closed).toMatchObject({ code: 'garbage' });
  });

  test('is cut off for messages that do not belong on a link', async () => {
    const { near, far } = await link(f32);
    near.send('cancel', { ids: [1] });
    expect(await far.closed).toMatchObject({ code: 'garbage' });
  });

  test('is cut off for more steps than the window', async () => {
    const { near, far, arrivals } = await link(f32);
    for (let id = 0; id <= linkWindow; id++)
      near.send('step', stepMessage(stepOf(1, id), false), encoded(1));
    expect(await far.closed).toMatchObject({ code: 'garbage' });
    expect(arrivals.all.length).toBe(linkWindow);
  });
});
