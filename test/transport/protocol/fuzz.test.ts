import { expect, test } from 'vitest';
import { encodeMessage } from '../../../transport/messages/messages.js';
import { f16 } from '../../../transport/wire/codecs/f16.js';
import { TransportError } from '../../../transport/wire/errors.js';
import { FrameParser, frameStart, readMessage } from '../../../transport/wire/frames.js';
import { rowsAt } from '../../../transport/wire/tensor-channel.js';
import { ArrivingStep } from '../../../transport/protocol/arriving-step.js';
import { encodeBody } from '../../../transport/protocol/steps.js';
import { randomNumbers } from '../support/random.js';
import { crowdOf } from '../support/steps.js';

const frames = 120_000;
const limits = { headerBytes: 0xffff, payloadBytes: 1 << 20 };
const rowSize = 32;

function stepFrame(): Buffer {
  const step = crowdOf([3, 2], 7);
  const body = encodeBody(step);
  const payload = Buffer.alloc(rowsAt(body.byteLength) + 5 * 2 * rowSize, 3);
  payload.set(body);
  const message = { id: step.id, epoch: step.epoch, bodyBytes: body.byteLength, receipt: true };
  return Buffer.concat([frameStart(encodeMessage('step', message), payload.length), payload]);
}

function validFrames(): Buffer[] {
  const segments = [{ sequence: 1, choices: new Uint8Array(8), logprobs: [] }];
  return [
    stepFrame(),
    frameStart(encodeMessage('result', { stage: 1, id: 3, epoch: 1, segments }), 0),
    frameStart(encodeMessage('cancel', { steps: [1, 2, 3], sequences: [1, 1, 1] }), 0),
    frameStart(encodeMessage('missing', { stage: 1, names: ['a', 'b'] }), 0),
    frameStart(
      encodeMessage('hello', {
        protocolVersion: 1,
        softwareVersion: '1',
        role: 'control',
        session: 's',
        name: 'n',
        stage: 0,
        codec: '',
      }),
      0,
    ),
  ];
}

test(`${frames} random and mutated frames only ever lead to typed errors`, () => {
  const random = randomNumbers(11);
  const below = (end: number) => Math.floor(random() * end);
  const valid = validFrames();
  const outcomes = { delivered: 0, steps: 0, refused: 0 };
  const before = process.memoryUsage.rss();

  for (let i = 0; i < frames; i++) {
    const original = valid[i % valid.length] as Buffer;
    const bytes =
      i % 7 === 0
        ? Buffer.from(Array.from({ length: below(200) }, () => below(256)))
        : Buffer.from(original.subarray(0, i % 11 === 0 ? below(original.length) : undefined));
    for (let change = below(6); change > 0 && bytes.length > 0; change--)
      bytes[below(bytes.length)] = below(256);
    const parser = new FrameParser((header, payload) => {
      const message = readMessage(header);
      if (message.kind === 'step') {
        const step = new ArrivingStep(message.body, f16, rowSize, (n) => new Float32Array(n));
        // As RDMA brings it.
        const cut = below(payload.length);
        step.add(payload.subarray(0, cut));
        step.add(payload.subarray(cut));
        step.finish();
        outcomes.steps++;
      }
      outcomes.delivered++;
    }, limits);
    try {
      for (let at = 0; at < bytes.length;) {
        const end = at + 1 + below(bytes.length);
        parser.push(bytes.subarray(at, end));
        at = end;
      }
    } catch (error) {
      expect(error, String(error)).toBeInstanceOf(TransportError);
      outcomes.refused++;
    }
  }

  // All of these happen, or the frames would not have tested much.
  expect(outcomes.delivered).toBeGreaterThan(frames / 20);
  expect(outcomes.steps).toBeGreaterThan(frames / 50);
  expect(outcomes.refused).toBeGreaterThan(frames / 20);
  expect(process.memoryUsage.rss() - before).toBeLessThan(300e6);
});
