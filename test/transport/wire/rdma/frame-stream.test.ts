import { describe, expect, test } from 'vitest';
import { TransportError } from '../../../../transport/wire/errors.js';
import { parseFrame, sealFrame } from '../../../../transport/wire/rdma/frame.js';
import {
  FrameStream,
  type FrameCarrier,
  type FramePart,
} from '../../../../transport/wire/rdma/frame-stream.js';
import { rowsAt } from '../../../../transport/wire/tensor-channel.js';
import { Random } from '../../../support/random.js';

const slotBytes = 4096;

/** Two streams, and the frames on their way between them. */
class Pair {
  readonly received: Uint8Array[] = [];
  /** Frames to the receiver and to the sender. */
  readonly there: Uint8Array[] = [];
  readonly back: Uint8Array[] = [];
  /** What waits for the next turn of the event loop. */
  readonly turns: (() => void)[] = [];
  readonly sender: FrameStream;
  readonly receiver: FrameStream;
  #parts: Uint8Array[] = [];

  readonly #near: Uint8Array[];
  readonly #far: Uint8Array[];

  constructor(slots = 4) {
    this.#near = ring(slots);
    this.#far = ring(slots);
    const [near, far] = [carrier(this.#near, this.there), carrier(this.#far, this.back)];
    const later = (action: () => void) => void this.turns.push(action);
    const onPart = ({ header, payload, isLast }: FramePart) => {
      if (header) this.#parts.push(header.slice());
      this.#parts.push(payload.slice());
      if (isLast) this.received.push(Buffer.concat(this.#parts.splice(0)));
    };
    this.sender = new FrameStream(this.#near, near, () => undefined, later);
    this.receiver = new FrameStream(this.#far, far, onPart, later);
  }

  /** Lets the event loop go on once. */
  turn(): void {
    for (const action of this.turns.splice(0)) action();
  }

  /** As many as there is room for. */
  makeFrames(): void {
    while (this.turns.length > 0) this.turn();
  }

  /** Carries frames until none is on its way. */
  carry(): void {
    while (this.there.length + this.back.length + this.turns.length > 0) {
      this.turn();
      const frame = this.there.shift();
      if (frame) this.receiver.receive(frame);
      const answer = this.back.shift();
      if (answer) this.sender.receive(answer);
    }
  }

  /** Carries frames with losses until one is noticed; then everything goes by a way that loses nothing. */
  carryWithLoss(random: Random): void {
    try {
      while (this.there.length + this.back.length + this.turns.length > 0) {
        this.turn();
        const frame = this.there.shift();
        if (frame && random.share() > 0.05) this.receiver.receive(frame);
        const answer = this.back.shift();
        if (answer && random.share() > 0.05) this.sender.receive(answer);
      }
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
    }
    this.sender.suspend();
    this.receiver.suspend();
    this.there.length = this.back.length = 0;
    this.receiver.resume(carrier(this.#far, this.back), this.sender.arrived);
    this.sender.resume(carrier(this.#near, this.there), this.receiver.arrived);
    this.carry();
  }
}

function ring(slots: number): Uint8Array[] {
  return Array.from({ length: slots }, () => new Uint8Array(slotBytes));
}

function carrier(slots: readonly Uint8Array[], way: Uint8Array[]): FrameCarrier {
  return {
    sendSlot: (slot, bytes) => way.push((slots[slot] as Uint8Array).slice(0, bytes)),
    sendNotice: (fill) => {
      const notice = new Uint8Array(64);
      way.push(notice.subarray(0, fill(notice)));
    },
  };
}

function messageOf(random: Random, mostBytes: number): { bytes: Uint8Array; rows: number } {
  const rows = random.between(1, 6);
  const bytes = new Uint8Array(rows * random.between(1, mostBytes / rows));
  for (let i = 0; i < bytes.length; i++) bytes[i] = random.between(0, 255);
  return { bytes, rows };
}

function send(stream: FrameStream, header: Uint8Array, bytes: Uint8Array, rows: number): void {
  const rowBytes = bytes.byteLength / rows;
  void stream.send(header, {
    body: new Uint8Array(0),
    rows,
    rowBytes,
    encode: (into, first, count) =>
      into.set(bytes.subarray(first * rowBytes, (first + count) * rowBytes)),
  });
}

describe('messages over frames', () => {
  test.each([
    ['shorter than a slot', 3000],
    ['of several slots', 20_000],
    ['whose rows do not fit a slot', 100_000],
  ])('%s arrive as they were sent', (_, mostBytes) => {
    const random = new Random(5);
    const pair = new Pair();
    const sent = Array.from({ length: 50 }, () => messageOf(random, mostBytes));
    const header = Buffer.from('header');
    for (const { bytes, rows } of sent) send(pair.sender, header, bytes, rows);
    pair.carry();
    expect(pair.received.length).toBe(50);
    for (const [i, { bytes }] of sent.entries())
      expect(Buffer.compare(pair.received[i] as Uint8Array, Buffer.concat([header, bytes]))).toBe(
        0,
      );
    expect(pair.sender.unacknowledged).toBeLessThan(4);
  });

  test.each([
    ['that fits a slot', 100],
    ['that fills slots to the last byte', 3 * (slotBytes - 24) - 8],
    ['of several slots', 20_000],
  ])('with a body %s arrive as they were sent', (_, bodyBytes) => {
    const pair = new Pair();
    const body = Buffer.alloc(bodyBytes, 'body');
    const encode = (into: Uint8Array, first: number, count: number) => {
      for (let i = 0; i < count; i++) into.subarray(100 * i, 100 * (i + 1)).fill(first + i);
    };
    void pair.sender.send(Buffer.from('header'), { body, rows: 200, rowBytes: 100, encode });
    void pair.sender.send(Buffer.from('header'), { body, rows: 0, rowBytes: 0, encode });
    pair.carry();
    const rows = Buffer.concat(Array.from({ length: 200 }, (_, i) => Buffer.alloc(100, i)));
    for (const [i, tail] of [rows, Buffer.alloc(0)].entries()) {
      const message = Buffer.from(pair.received[i] as Uint8Array);
      const start = Buffer.concat([Buffer.from('header'), body]);
      expect(message.subarray(0, start.length).equals(start)).toBe(true);
      expect(message.subarray(6 + rowsAt(bodyBytes)).equals(tail)).toBe(true);
    }
  });

  test('have payloads that can be seen as numbers', () => {
    const pair = new Pair();
    const frames = [5, 6, 7, 8].map((bytes) => {
      send(pair.sender, Buffer.alloc(bytes), new Uint8Array(64), 1);
      pair.turn();
      return pair.there.at(-1) as Uint8Array;
    });
    for (const frame of frames) expect(parseFrame(frame).payload.byteOffset % 8).toBe(0);
  });

  test('whose header does not fit a slot are refused, and those after them arrive', () => {
    const pair = new Pair();
    expect(() => pair.sender.send(Buffer.alloc(slotBytes - 19))).toThrow(TransportError);
    void pair.sender.send(Buffer.alloc(slotBytes - 20, 1));
    pair.carry();
    expect(pair.received.map(({ byteLength }) => byteLength)).toEqual([slotBytes - 20]);
  });

  test('that cannot be encoded are refused, and those after them arrive', async () => {
    const pair = new Pair();
    const encode = () => {
      throw new Error('no');
    };
    const body = new Uint8Array(0);
    const refused = pair.sender.send(Buffer.from([1]), { body, rows: 1, rowBytes: 8, encode });
    void pair.sender.send(Buffer.from([2]));
    await expect(refused).rejects.toThrow('no');
    pair.carry();
    expect(pair.received).toEqual([Buffer.from([2])]);
  });

  test('wait for room: no more are on their way than there are slots', async () => {
    const pair = new Pair(4);
    let done = 0;
    for (let i = 0; i < 10; i++) void pair.sender.send(Buffer.from([i])).then(() => done++);
    pair.makeFrames();
    await Promise.resolve();
    expect([pair.there.length, done]).toEqual([4, 4]);
    pair.carry();
    await Promise.resolve();
    expect(pair.received.length).toBe(10);
  });

  test('leave the event loop its turn', () => {
    const pair = new Pair(16);
    send(pair.sender, Buffer.from('header'), new Uint8Array(15 * 4000), 15);
    const made = pair.there.length;
    pair.turn();
    expect([made, pair.there.length]).toEqual([1, 2]);
  });

  test('are given up when the stream ends', async () => {
    const pair = new Pair(1);
    const sent = [pair.sender.send(Buffer.from([1])), pair.sender.send(Buffer.from([2]))];
    pair.sender.end();
    await Promise.all(sent);
    expect(pair.there.length).toBe(1);
  });
});

describe('frames', () => {
  test('that are missing or damaged are noticed', () => {
    const random = new Random(9);
    for (let round = 0; round < 500; round++) {
      const pair = new Pair(8);
      for (let i = 0; i < 8; i++) void pair.sender.send(Buffer.from([i]));
      pair.makeFrames();
      const hit = random.between(0, 6);
      if (round % 2 === 0) pair.there.splice(hit, 1);
      else (pair.there[hit] as Uint8Array)[random.between(0, 19)]! ^= 1 << random.between(0, 7);
      expect(() => pair.carry()).toThrow(TransportError);
      expect(pair.receiver.arrived).toBe(hit);
    }
  });

  test('that were lost come by the other way, in order and once', () => {
    const random = new Random(11);
    for (let round = 0; round < 300; round++) {
      const pair = new Pair();
      const sent = Array.from({ length: 30 }, () => messageOf(random, 12_000));
      for (const { bytes, rows } of sent) send(pair.sender, Buffer.alloc(0), bytes, rows);
      pair.carryWithLoss(random);
      expect(pair.received.length).toBe(30);
      for (const [i, { bytes }] of sent.entries())
        expect(Buffer.compare(pair.received[i] as Uint8Array, bytes)).toBe(0);
    }
  });

  test('of random bytes are refused', () => {
    const random = new Random(2);
    for (let round = 0; round < 20_000; round++) {
      const bytes = Uint8Array.from({ length: random.between(0, 80) }, () =>
        random.between(0, 255),
      );
      expect(() => parseFrame(bytes)).toThrow(TransportError);
    }
  });

  test('cannot say that more arrived than was sent', () => {
    const pair = new Pair();
    const frame = new Uint8Array(64);
    const bytes = sealFrame(frame, {
      sequence: 1,
      arrived: 5,
      flags: 1,
      headerBytes: 0,
      payloadBytes: 0,
    });
    expect(() => pair.sender.receive(frame.subarray(0, bytes))).toThrow('0 were sent');
  });
});
