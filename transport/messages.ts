import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { TransportError } from './errors.js';

/** What the other end has to know of an RDMA queue pair. */
export interface QueueAddress {
  readonly number: number;
  /** Sequence number of the first packet. */
  readonly firstPacket: number;
  readonly lid: number;
  /** enum ibv_mtu: the most that this end can take. */
  readonly mtu: number;
  /** 16 bytes. */
  readonly gid: Uint8Array;
}

/** What two sides tell each other; daisychain.proto says what the fields mean. */
export interface Messages {
  hello: {
    protocolVersion: number;
    softwareVersion: string;
    role: string;
    session: string;
    name: string;
  };
  welcome: {
    protocolVersion: number;
    softwareVersion: string;
    name: string;
    modelFingerprint: string;
    freeBytes: number;
    device: string;
    threads: number;
  };
  refuse: { code: string; message: string };
  heartbeat: object;
  goodbye: { reason: string };
  load: {
    shard: { firstLayer: number; endLayer: number; embedding: boolean; head: boolean };
    modelFingerprint: string;
    metadata: string;
    tensors: { name: string; type: number; shape: number[]; bytes: number; sha256: string }[];
    cells: number;
    conversations: number;
    kvType: string;
    maxBatchTokens: number;
    codecIn: string;
    codecOut: string;
    nextHost: string;
    nextPort: number;
    transport: string;
    rdmaQueue: string;
  };
  channelOffer: { transport: string; queue: string; slotBytes: number; address: QueueAddress };
  channelAnswer: { refusal: string; address: QueueAddress };
  frame: object;
  framesSent: { count: number };
  framesArrived: { count: number };
  rdmaEnded: { arrived: number; cause: string };
  missing: { names: string[] };
  tensorData: { name: string; offset: number };
  stored: { bytes: number };
  traceRequest: { start: boolean };
  trace: { events: string; nowMs: number };
  loadProgress: { loadedBytes: number; totalBytes: number };
  ready: { weights: number; kv: number; compute: number; kvType: string };
  failed: { code: string; message: string };
  step: {
    id: number;
    tokens: Uint8Array;
    positions: Uint8Array;
    cells: Uint8Array;
    windowStart: number;
    windowLength: number;
    visibleCounts: Uint8Array;
    visible: Uint8Array;
    outputs: Uint8Array;
    recentTokens: Uint8Array;
    receipt: boolean;
    follows: number;
    calibratesKv: boolean;
    sampling: {
      temperature: number;
      topK: number;
      topP: number;
      minP: number;
      repetitionPenalty: number;
      seed: number;
    };
  };
  credit: { steps: number; receipt: number };
  result: { id: number; tokens: Uint8Array };
  stepFailed: { id: number; message: string };
  cancel: { ids: number[] };
  statsRequest: { reset: boolean };
  stats: {
    steps: number;
    computeMs: number;
    encodeMs: number;
    decodeMs: number;
    sendMs: number;
    waitMs: number;
    bytesSent: number;
    bytesReceived: number;
    residentBytes: number;
    latency: LatencySummary;
  };
}

/** How long steps take over a link and receipts back, in milliseconds. */
export interface LatencySummary {
  samples: number;
  p50Ms: number;
  p90Ms: number;
  p99Ms: number;
  maxMs: number;
}

export type MessageKind = keyof Messages;

/** One message with its kind; the fields are those of `Messages[kind]`. */
export type Message = { [Kind in MessageKind]: { kind: Kind; body: Messages[Kind] } }[MessageKind];

const schema = fileURLToPath(new URL('../../transport/daisychain.proto', import.meta.url));
const root = protobuf.loadSync(schema);
const envelope = root.lookupType('daisychain.Envelope');
const stepType = root.lookupType('daisychain.Step');
const loadType = root.lookupType('daisychain.Load');

/** Encodes a message as the header of a frame. */
export function encodeMessage<Kind extends MessageKind>(
  kind: Kind,
  body: Messages[Kind],
): Uint8Array {
  return envelope.encode({ [kind]: body }).finish();
}

/** Decodes the header of a frame. @throws TransportError 'garbage' when it is none of the messages. */
export function decodeMessage(header: Uint8Array): Message {
  try {
    const decoded = envelope.decode(header) as unknown as Record<string, unknown> & {
      body?: MessageKind;
    };
    const kind = decoded.body;
    const body = kind && (decoded[kind] as Message['body']);
    if (body && isComplete(kind, body)) return { kind, body } as Message;
  } catch {
    // What protobufjs has to say about it does not help whoever reads the log.
  }
  throw new TransportError('garbage', 'a frame that is no message');
}

/** Fields of scalar types have defaults; fields that are messages may be absent. */
function isComplete(kind: MessageKind, body: object): boolean {
  if (kind === 'step')
    return body instanceof stepType.ctor && 'sampling' in body && !!body.sampling;
  if (kind === 'stats') return 'latency' in body && !!body.latency;
  if (kind === 'load') return body instanceof loadType.ctor && 'shard' in body && !!body.shard;
  if (kind === 'channelOffer' || kind === 'channelAnswer')
    return 'address' in body && !!body.address;
  return true;
}
