import { describe, expect, test } from 'vitest';
import {
  decodeMessage,
  encodeMessage,
  type MessageKind,
  type Messages,
} from '../../../transport/messages/messages.js';
import { randomNumbers } from '../support/random.js';

const queueAddress = {
  number: 17,
  firstPacket: 7,
  lid: 0,
  mtu: 3,
  gid: Uint8Array.from({ length: 16 }, (_, i) => i),
};

/** One of each; sizes beyond 32 bits, and zeros, which protobuf leaves out. */
const samples: Messages = {
  hello: {
    protocolVersion: 1,
    softwareVersion: '1.2.3',
    role: 'tensor',
    session: 's',
    name: 'ä',
    stage: 3,
    codec: 'f16',
  },
  welcome: {
    protocolVersion: 1,
    softwareVersion: '',
    name: 'host, process 1',
    machineId: '4d',
    engine: 'onnx',
    modelFingerprint: 'f00',
    freeBytes: 2 ** 45 + 1,
    device: 'CPU',
    threads: 0,
    busy: true,
  },
  refuse: { code: 'busy', message: 'is busy' },
  heartbeat: {},
  goodbye: { reason: 'done' },
  loadShard: {
    stage: 0,
    shard: { firstLayer: 0, endLayer: 5, embedding: false, head: true },
    modelFingerprint: 'f00',
    metadata: '[["general.architecture","llama"]]',
    tensors: [
      { name: 'blk.0.attn_q.weight', type: 2, shape: [64, 2 ** 33], bytes: 2 ** 40, sha256: 'ab' },
      { name: 'output_norm.weight', type: 0, shape: [], bytes: 256, sha256: '' },
    ],
    cells: 4096,
    conversations: 2,
    states: 8,
    kvType: 'q8_0',
    maxStepRows: 512,
    countsRoutings: true,
  },
  missing: { stage: 1, names: ['a', 'b'] },
  tensorData: { name: 'a', offset: 2 ** 40 + 4096 },
  stored: { bytes: 2 ** 35 },
  loadProgress: { stage: 1, loadedBytes: 0, totalBytes: 2 ** 41 },
  ready: { stage: 1, weights: 2 ** 36, kv: 1, compute: 0, kvType: 'f16', movesPages: true },
  failed: { stage: 0, code: 'load', message: 'cannot' },
  knownPages: { request: 2, stage: 1, keys: new Uint8Array(0) },
  restorePages: { request: 3, stage: 0, epoch: 0, keys: new Uint8Array(32), pages: [2 ** 32 - 1] },
  pageCount: { request: 3, stage: 0, count: 0 },
  link: {
    stage: 1,
    epoch: 2 ** 32 - 1,
    next: {
      host: '::1',
      port: 65535,
      stage: 2,
      codec: 'auto',
      transport: 'auto',
      rdmaQueue: 'uc',
      expected: { decodeMs: 12.5, promptRowMs: 0 },
    },
  },
  linked: {
    stage: 1,
    epoch: 7,
    link: { codec: 'f16', figures: { roundTripMs: 0.125, bytesPerMs: 112_000.5 } },
  },
  unload: { stage: 0 },
  unloaded: { stage: 5 },
  step: { id: 2 ** 32 - 1, epoch: 0, bodyBytes: 200_000, receipt: true },
  credit: { steps: 1, receipt: 9 },
  result: {
    stage: 2,
    id: 2 ** 32 - 1,
    epoch: 1,
    segments: [
      { sequence: 1, choices: new Uint8Array(0), logprobs: [] },
      {
        sequence: 2,
        choices: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
        logprobs: [
          { wanted: true, chosen: -0.5, topTokens: new Uint8Array(4), top: new Uint8Array(4) },
          { wanted: false, chosen: 0, topTokens: new Uint8Array(0), top: new Uint8Array(0) },
        ],
      },
    ],
  },
  stepFailed: { stage: 0, id: 0, epoch: 3, message: 'no' },
  cancel: { steps: [0, 1, 2 ** 32 - 1], sequences: [1, 1, 2] },
  statsRequest: { request: 1, stage: 0, reset: true },
  stats: {
    request: 4,
    stage: 1,
    report: {
      steps: 7,
      times: [
        { steps: 1, tokens: 1, cells: 256, ms: 0.125 },
        { steps: 4.5, tokens: 512, cells: 2 ** 20, ms: 0 },
      ],
      computeMs: 1.25,
      encodeMs: 0,
      decodeMs: 1e-9,
      sendMs: 3,
      waitMs: 4,
      bytesSent: 2 ** 50,
      bytesReceived: 0,
      residentBytes: 2 ** 33,
      latency: { samples: 3, p50Ms: 0.5, p90Ms: 1, p99Ms: 2, maxMs: 2.5 },
      routings: [
        { layer: 0, counts: [0, 2 ** 32 - 1, 3], rows: 5, steps: 2, distinct: 2 ** 40 },
        { layer: 1, counts: [], rows: 0, steps: 0, distinct: 0 },
      ],
    },
  },
  bandwidthRequest: { request: 3, stage: 1 },
  bandwidth: { request: 3, stage: 1, bytesPerSecond: 2e10 },
  traceRequest: { request: 2, stage: 1, start: true },
  trace: { request: 2, stage: 0, events: '[]', nowMs: 1.5e12 },
  channelOffer: { transport: 'rdma', queue: 'rc', slotBytes: 65536, address: queueAddress },
  channelAnswer: { refusal: '', address: queueAddress },
  frame: {},
  framesSent: { count: 2 ** 32 - 1 },
  framesArrived: { count: 0 },
  rdmaEnded: { arrived: 5, cause: 'frame 6 was lost' },
  linkProbe: {},
  linkProbed: {},
  linkCodec: { codec: 'int8' },
};

const kinds = Object.keys(samples) as MessageKind[];

function roundTrip<Kind extends MessageKind>(kind: Kind, body: Messages[Kind]): Messages[Kind] {
  return decodeMessage(encodeMessage(kind, body))?.body as Messages[Kind];
}

describe('messages', () => {
  test.each(kinds)('%s arrives as it was sent', (kind) => {
    expect(decodeMessage(encodeMessage(kind, samples[kind]))?.kind).toBe(kind);
    expectSame(roundTrip(kind, samples[kind]), samples[kind]);
  });

  test.each(kinds)('%s is still whole when it is copied', (kind) => {
    expectSame({ ...roundTrip(kind, samples[kind]) }, samples[kind]);
  });

  test('of which nothing travelled have defaults', () => {
    const nothing = new Uint8Array(0);
    const segments = [{}] as unknown as Messages['result']['segments'];
    expectSame(roundTrip('result', { stage: 0, id: 0, epoch: 0, segments }), {
      stage: 0,
      id: 0,
      epoch: 0,
      segments: [{ sequence: 0, choices: nothing, logprobs: [] }],
    });
  });

  test.each([
    ['a link without a next stage', 'link', 'next'],
    ['an offer without an address', 'channelOffer', 'address'],
    ['an answer without an address', 'channelAnswer', 'address'],
  ] as const)('%s is one', (_, kind, field) => {
    const body = roundTrip(kind, without(kind, field));
    expect(body).toBeDefined();
    expect((body as unknown as Record<string, unknown>)[field]).toBeUndefined();
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a kind from the future', Buffer.from([0xfa, 0x07, 0])],
    ['a cut field', encodeMessage('refuse', samples.refuse).subarray(0, -1)],
    ['text that is not UTF-8', Buffer.from([0x2a, 4, 0x0a, 2, 0xc3, 0x28])],
    ['a shard to load without a shard', encodeMessage('loadShard', without('loadShard', 'shard'))],
    ['stats without a report', encodeMessage('stats', without('stats', 'report'))],
    [
      'a report without latencies',
      encodeMessage('stats', {
        ...samples.stats,
        report: { ...samples.stats.report, latency: undefined as never },
      }),
    ],
  ])('%s is none', (_, header) => {
    expect(decodeMessage(header)).toBeUndefined();
  });

  test('of random and damaged bytes are read or not, never worse', () => {
    const random = randomNumbers(4);
    const headers = kinds.map((kind) => encodeMessage(kind, samples[kind]));
    let read = 0;
    const rounds = 20_000;
    for (let round = 0; round < rounds; round++) {
      const good = headers[round % headers.length] ?? new Uint8Array(0);
      const header = Uint8Array.from(good);
      for (let i = 0; i <= random() * 3; i++) header[random() * header.length] = random() * 256;
      const message = decodeMessage(header.subarray(0, header.length - (round % 3)));
      if (!message) continue;
      expect(kinds).toContain(message.kind);
      read++;
    }
    expect(read).toBeGreaterThan(rounds / 20);
    expect(read).toBeLessThan(rounds - rounds / 20);
  });
});

/** Compares values and what is there, whatever kind of bytes and objects holds them. */
function expectSame(read: unknown, sent: unknown): void {
  expect(plain(read)).toEqual(plain(sent));
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([field, each]) => [field, plain(each)]));
}

function without<Kind extends MessageKind>(kind: Kind, field: string): Messages[Kind] {
  return { ...samples[kind], [field]: undefined };
}
