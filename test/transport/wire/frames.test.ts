import { describe, expect, test } from 'vitest';
import { TransportError } from '../../../transport/wire/errors.js';
import {
  FrameParser,
  frameLimits,
  frameStart,
  type FrameLimits,
} from '../../../transport/wire/frames.js';
import { randomNumbers } from '../support/random.js';

interface Frame {
  readonly header: Buffer;
  readonly payload: Buffer;
}

function bytesOf({ header, payload }: Frame): Buffer {
  return Buffer.concat([frameStart(header, payload.length), payload]);
}

/** Feeds a stream in chunks of the given sizes, over and over, and collects the frames. */
function parse(stream: Buffer, chunkSizes: readonly number[], limits?: FrameLimits): Frame[] {
  const frames: Frame[] = [];
  const parser = new FrameParser(
    (header, payload) =>
      frames.push({ header: Buffer.from(header), payload: Buffer.from(payload) }),
    limits,
  );
  for (let at = 0, i = 0; at < stream.length; i++) {
    const size = chunkSizes[i % chunkSizes.length] ?? 1;
    parser.push(stream.subarray(at, at + size));
    at += size;
  }
  return frames;
}

const samples: Frame[] = [
  [1, 0],
  [5, 3],
  [300, 0],
  [7, 8192],
  [65535, 1],
  [2, 200_000],
  // Too long for its length field, so it travels where the payload would.
  [65536, 0],
  [150_000, 0],
].map(([header, payload], i) => ({
  header: Buffer.alloc(header ?? 0, i + 1),
  payload: Buffer.alloc(payload ?? 0, i + 101),
}));

/** Compares bytes as bytes: a matcher would look at each element of large buffers. */
function expectSamples(frames: readonly Frame[]): void {
  expect(frames.length).toBe(samples.length);
  for (const [i, { header, payload }] of samples.entries()) {
    expect(frames[i]?.header.equals(header), `header ${i}`).toBe(true);
    expect(frames[i]?.payload.equals(payload), `payload ${i}`).toBe(true);
  }
}

describe('frames', () => {
  const stream = Buffer.concat(samples.map(bytesOf));

  test.each([[[1]], [[2, 3]], [[5, 1, 6]], [[7]], [[1460]], [[65536]], [[stream.length]]])(
    'come out as they went in, in chunks of %j bytes',
    (sizes) => {
      expectSamples(parse(stream, sizes));
    },
  );

  test('come out as they went in, cut at random places', () => {
    const random = randomNumbers(1);
    for (let round = 0; round < 50; round++) {
      const sizes = Array.from({ length: 100 }, () => 1 + Math.floor(random() ** 4 * 10_000));
      expectSamples(parse(stream, sizes));
    }
  });

  test('give payloads that can be seen as floats', () => {
    const offsets: number[] = [];
    const parser = new FrameParser((_, payload) => offsets.push(payload.byteOffset % 8));
    for (const frame of samples) parser.push(bytesOf(frame));
    expect(offsets).toEqual(samples.map(() => 0));
  });

  test('tell whether the stream ends between two of them', () => {
    const parser = new FrameParser(() => undefined);
    const frame = bytesOf({ header: Buffer.alloc(9), payload: Buffer.alloc(20) });
    expect(parser.idle).toBe(true);
    for (let end = 1; end < frame.length; end++) {
      parser.push(frame.subarray(end - 1, end));
      expect(parser.idle, `after ${end} bytes`).toBe(false);
    }
    parser.push(frame.subarray(-1));
    expect(parser.idle).toBe(true);
  });
});

describe('limits', () => {
  const limits = { headerBytes: 100, payloadBytes: 1000 };
  const accepted = (header: number, payload: number) => {
    const frame = { header: Buffer.alloc(header), payload: Buffer.alloc(payload) };
    return parse(bytesOf(frame), [1], limits).length;
  };

  test('are inclusive', () => {
    expect(accepted(100, 1000)).toBe(1);
  });

  test.each([
    [101, 0],
    [1, 1001],
  ])('refuse a header of %i and a payload of %i bytes', (header, payload) => {
    expect(() => accepted(header, payload)).toThrow(TransportError);
  });

  test('are checked before memory is taken', () => {
    const prefix = Buffer.from([0xff, 0xff, 0xff, 0xff, 4, 0]);
    expect(() => parse(prefix, [6])).toThrow(TransportError);
    const justTooLarge = frameStart(Buffer.alloc(4), frameLimits.payloadBytes);
    justTooLarge.writeUInt32LE(justTooLarge.readUInt32LE(0) + 1, 0);
    expect(() => parse(justTooLarge, [6])).toThrow(TransportError);
  });

  test('refuse a header that is longer than its frame', () => {
    expect(() => parse(Buffer.from([3, 0, 0, 0, 2, 0, 1, 1]), [8])).toThrow(TransportError);
    expect(() => parse(Buffer.from([0, 0, 0, 0, 0, 0]), [6])).toThrow(TransportError);
  });
});

test.each([
  ['a header that is too long before a payload', 65536, 1],
  ['a payload that is too long', 1, frameLimits.payloadBytes + 1],
])('%s is refused where it is made', (_, header, payload) => {
  expect(() => frameStart(Buffer.alloc(header), payload)).toThrow(TransportError);
});

describe('garbage', () => {
  /** Whatever is fed in, frames come out within the limits, or a TransportError. */
  function survives(stream: Buffer, chunk: number): void {
    const limits = { headerBytes: 512, payloadBytes: 4096 };
    try {
      for (const { header, payload } of parse(stream, [chunk], limits)) {
        expect(header.length).toBeLessThanOrEqual(limits.headerBytes);
        expect(payload.length).toBeLessThanOrEqual(limits.payloadBytes);
      }
    } catch (error) {
      expect(error).toBeInstanceOf(TransportError);
      expect(error).toMatchObject({ code: 'garbage' });
    }
  }

  test('of random bytes is refused or framed, never worse', () => {
    const random = randomNumbers(2);
    for (let round = 0; round < 5000; round++) {
      const stream = Buffer.from(Array.from({ length: 1 + random() * 200 }, () => random() * 256));
      // Small lengths, so that some of it passes for frames.
      if (round % 2 && stream.length > 4) stream.fill(0, 2, 4);
      survives(stream, 1 + Math.floor(random() * 64));
    }
  });

  test('of frames with flipped, lost and doubled bytes is refused or framed, never worse', () => {
    const random = randomNumbers(3);
    const good = Buffer.concat(samples.slice(0, 4).map(bytesOf));
    for (let round = 0; round < 5000; round++) {
      const at = Math.floor(random() * good.length);
      const flipped = Buffer.from(good);
      flipped[at] = random() * 256;
      const lost = Buffer.concat([good.subarray(0, at), good.subarray(at + 1)]);
      const doubled = Buffer.concat([good.subarray(0, at), good.subarray(at / 2)]);
      survives([flipped, lost, doubled][round % 3] ?? good, 1 + Math.floor(random() * 9000));
    }
  });
});
