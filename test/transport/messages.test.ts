import { describe, expect, test } from 'vitest';
import { TransportError } from '../../transport/errors.js';
import {
  decodeMessage,
  encodeMessage,
  type MessageKind,
  type Messages,
} from '../../transport/messages.js';
import { fromBytes, readStep, stepMessage, toBytes } from '../../transport/steps.js';
import { randomNumbers } from './support/random.js';
import { stepOf } from './support/steps.js';

const queueAddress = {
  number: 17,
  firstPacket: 7,
  lid: 0,
  mtu: 3,
  gid: Uint8Array.from({ length: 16 }, (_, i) => i),
};

/** One of each; sizes beyond 32 bits, and zeros, which protobuf leaves out. */
const samples: Messages = {
  hello: { protocolVersion: 1, softwareVersion: '1.2.3', role: 'tensor', session: 's', name: 'ä' },
  welcome: {
    protocolVersion: 1,
    softwareVersion: '',
    name: 'host, process 1',
    modelFingerprint: 'f00',
    freeBytes: 2 ** 45 + 1,
    device: 'CPU',
    threads: 0,
  },
  refuse: { code: 'busy', message: 'is busy' },
  heartbeat: {},
  goodbye: { reason: 'done' },
  load: {
    shard: { firstLayer: 0, endLayer: 5, embedding: false, head: true },
    modelFingerprint: 'f00',
    metadata: '[["general.architecture","llama"]]',
    tensors: [
      { name: 'blk.0.attn_q.weight', type: 2, shape: [64, 2 ** 33], bytes: 2 ** 40, sha256: 'ab' },
      { name: 'output_norm.weight', type: 0, shape: [64], bytes: 256, sha256: '' },
    ],
    cells: 4096,
    conversations: 2,
    kvType: 'q8_0',
    maxBatchTokens: 512,
    codecIn: 'f16',
    codecOut: 'f32',
    nextHost: '::1',
    nextPort: 65535,
    transport: 'auto',
    rdmaQueue: 'uc',
  },
  channelOffer: { transport: 'rdma', queue: 'rc', slotBytes: 65536, address: queueAddress },
  channelAnswer: { refusal: '', address: queueAddress },
  frame: {},
  framesSent: { count: 2 ** 32 - 1 },
  framesArrived: { count: 0 },
  rdmaEnded: { arrived: 5, cause: 'frame 6 was lost' },
  missing: { names: ['a', 'b'] },
  tensorData: { name: 'a', offset: 2 ** 40 + 4096 },
  stored: { bytes: 2 ** 35 },
  loadProgress: { loadedBytes: 0, totalBytes: 2 ** 41 },
  ready: { weights: 2 ** 36, kv: 1, compute: 0, kvType: 'f16' },
  failed: { code: 'load', message: 'cannot' },
  step: stepMessage({ ...stepOf(3), calibratesKv: true }, true),
  credit: { steps: 1, receipt: 9 },
  result: { id: 2 ** 32 - 1, tokens: toBytes(Int32Array.of(0, -1, 2 ** 31 - 1)) },
  stepFailed: { id: 0, message: 'no' },
  cancel: { ids: [0, 1, 2 ** 32 - 1] },
  statsRequest: { reset: true },
  traceRequest: { start: true },
  trace: { events: '[]', nowMs: 1.5e12 },
  stats: {
    steps: 7,
    computeMs: 1.25,
    encodeMs: 0,
    decodeMs: 1e-9,
    sendMs: 3,
    waitMs: 4,
    bytesSent: 2 ** 50,
    bytesReceived: 0,
    residentBytes: 2 ** 33,
    latency: { samples: 3, p50Ms: 0.5, p90Ms: 1, p99Ms: 2, maxMs: 2.5 },
  },
};

describe('messages', () => {
  test.each(Object.keys(samples) as MessageKind[])('%s arrives as it was sent', (kind) => {
    const message = decodeMessage(encodeMessage(kind, samples[kind]));
    expect(message.kind).toBe(kind);
    expectFields(message.body, samples[kind]);
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a kind from the future', Buffer.from([0xfa, 0x07, 0])],
    ['a cut field', encodeMessage('refuse', samples.refuse).subarray(0, -1)],
    ['text that is not UTF-8', Buffer.from([0x2a, 4, 0x0a, 2, 0xc3, 0x28])],
    ['a step without sampling', encodeMessage('step', without('step', 'sampling'))],
    ['a load without a shard', encodeMessage('load', without('load', 'shard'))],
    [
      'an offer without an address',
      encodeMessage('channelOffer', without('channelOffer', 'address')),
    ],
  ])('%s is refused', (_, header) => {
    expect(() => decodeMessage(header)).toThrow(TransportError);
  });

  test('of random and damaged bytes are refused or read, never worse', () => {
    const random = randomNumbers(4);
    const headers = Object.keys(samples).map((kind) =>
      encodeMessage(kind as MessageKind, samples[kind as MessageKind]),
    );
    for (let round = 0; round < 20_000; round++) {
      const good = headers[round % headers.length] ?? new Uint8Array(0);
      const header = Uint8Array.from(good);
      for (let i = 0; i <= random() * 3; i++) header[random() * header.length] = random() * 256;
      try {
        const message = decodeMessage(header.subarray(0, header.length - (round % 3)));
        if (message.kind === 'step') readStep(message.body);
        expect(Object.keys(samples)).toContain(message.kind);
      } catch (error) {
        expect(error).toBeInstanceOf(TransportError);
      }
    }
  });
});

/** Fields with their default value can be read, but are no properties of their own; empty bytes are an empty array. */
function expectFields(read: object, sent: object): void {
  for (const [field, value] of Object.entries(sent) as [string, unknown][]) {
    const found = (read as Record<string, unknown>)[field];
    if (value instanceof Uint8Array)
      expect([...(found as Iterable<number>)], field).toEqual([...value]);
    else if (typeof value === 'object' && value !== null) expectFields(found as object, value);
    else expect(found, field).toBe(value);
  }
}

function without<Kind extends MessageKind>(kind: Kind, field: string): Messages[Kind] {
  return { ...samples[kind], [field]: undefined };
}

describe('steps', () => {
  test.each([1, 2, 512])('of %i tokens arrive as they were sent', (count) => {
    const step = { ...stepOf(count), calibratesKv: count === 2 };
    const message = decodeMessage(encodeMessage('step', stepMessage(step, true)));
    expect(message.kind).toBe('step');
    const { sampling, ...arrays } = readStep(message.body as Messages['step']);
    const { sampling: sentSampling, ...sentArrays } = step;
    expect(arrays).toEqual(sentArrays);
    expectFields(sampling, sentSampling);
  });

  test('of views into larger arrays hold only the view', () => {
    const view = Int32Array.of(1, 2, 3, 4).subarray(1, 3);
    expect(fromBytes(toBytes(view))).toEqual(Int32Array.of(2, 3));
  });

  test('with half an integer are refused', () => {
    expect(() => fromBytes(new Uint8Array(7))).toThrow(TransportError);
  });
});
