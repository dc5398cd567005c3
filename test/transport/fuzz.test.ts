import { expect, test } from 'vitest';
import { checkBatch } from '../../engine/batch.js';
import { EngineError } from '../../engine/engine.js';
import { TransportError } from '../../transport/errors.js';
import { FrameParser, frameStart } from '../../transport/frames.js';
import { decodeMessage, encodeMessage } from '../../transport/messages.js';
import { readStep, stepMessage } from '../../transport/steps.js';
import { randomNumbers } from './support/random.js';

const frames = 120_000;
const limits = { headerBytes: 0xffff, payloadBytes: 1 << 20 };
const stageLimits = { vocabulary: 2048, cells: 512, maxBatchTokens: 64 };

function validFrames(): Buffer[] {
  const ids = Int32Array.from({ length: 5 }, (_, i) => i);
  const step = {
    id: 7,
    follows: 0,
    tokens: ids,
    positions: ids,
    cells: ids,
    windowStart: 0,
    windowLength: 256,
    visibleCounts: new Int32Array(5).fill(1),
    visible: Int32Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? 0 : (i + 1) / 2)),
    outputs: Int32Array.of(4),
    recentTokens: new Int32Array(0),
    sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0 },
  };
  const payload = Buffer.alloc(5 * 64, 3);
  const withPayload = frameStart(encodeMessage('step', stepMessage(step, true)), payload.length);
  return [
    Buffer.concat([withPayload, payload]),
    frameStart(encodeMessage('result', { id: 3, tokens: new Uint8Array(8) }), 0),
    frameStart(encodeMessage('cancel', { ids: [1, 2, 3] }), 0),
    frameStart(encodeMessage('missing', { names: ['a', 'b'] }), 0),
    frameStart(
      encodeMessage('hello', {
        protocolVersion: 1,
        softwareVersion: '1',
        role: 'control',
        session: 's',
        name: 'n',
      }),
      0,
    ),
  ];
}

test(`${frames} random and mutated frames only ever lead to typed errors`, () => {
  const random = randomNumbers(11);
  const below = (end: number) => Math.floor(random() * end);
  const valid = validFrames();
  let delivered = 0;
  let refused = 0;
  const before = process.memoryUsage.rss();

  for (let i = 0; i < frames; i++) {
    const original = valid[i % valid.length] as Buffer;
    const bytes =
      i % 7 === 0
        ? Buffer.from(Array.from({ length: below(200) }, () => below(256)))
        : Buffer.from(original.subarray(0, i % 11 === 0 ? below(original.length) : undefined));
    for (let change = below(6); change > 0 && bytes.length > 0; change--)
      bytes[below(bytes.length)] = below(256);
    const parser = new FrameParser((header) => {
      const message = decodeMessage(header);
      if (message.kind === 'step') checkBatch(readStep(message.body), stageLimits);
      delivered++;
    }, limits);
    try {
      for (let at = 0; at < bytes.length;) {
        const end = at + 1 + below(bytes.length);
        parser.push(bytes.subarray(at, end));
        at = end;
      }
    } catch (error) {
      expect(error instanceof TransportError || error instanceof EngineError, String(error)).toBe(
        true,
      );
      refused++;
    }
  }

  // Both happen, or the frames would not have tested much.
  expect(delivered).toBeGreaterThan(frames / 20);
  expect(refused).toBeGreaterThan(frames / 20);
  expect(process.memoryUsage.rss() - before).toBeLessThan(300e6);
});
