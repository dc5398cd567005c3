import { decodeMessage, type Message } from '../messages/messages.js';
import { TransportError } from './errors.js';

/**
 * u32 length of what follows, then u16 length of the header; little-endian. A header that is too long for that, such as
 * the list of a large shard's tensors, stands where the payload would, with a header length of 0.
 */
const prefixBytes = 6;
const longestHeader = 0xffff;

/** The most that a frame may hold; checked before anything is allocated for it. */
export interface FrameLimits {
  readonly headerBytes: number;
  readonly payloadBytes: number;
}

/** Steps of 8,192 rows of 8,192 f32 fit, while text would be beyond the limit, and so is noticed at once. */
export const frameLimits: FrameLimits = { headerBytes: longestHeader, payloadBytes: 1 << 29 };

/**
 * The bytes before a frame's payload: prefix and header in one buffer.
 * @throws TransportError 'garbage' when the other side would not take the frame
 */
export function frameStart(header: Uint8Array, payloadBytes: number): Buffer {
  const isLong = header.byteLength > longestHeader;
  const laterBytes = isLong ? header.byteLength + payloadBytes : payloadBytes;
  if ((isLong && payloadBytes > 0) || laterBytes > frameLimits.payloadBytes)
    throw new TransportError(
      'garbage',
      `a message of ${header.byteLength} and ${payloadBytes} bytes is too long: use smaller chunks`,
    );
  const start = Buffer.allocUnsafe(prefixBytes + header.byteLength);
  start.writeUInt32LE(2 + header.byteLength + payloadBytes, 0);
  start.writeUInt16LE(isLong ? 0 : header.byteLength, 4);
  start.set(header, prefixBytes);
  return start;
}

/** The message in a frame's header. @throws TransportError 'garbage' when it is none */
export function readMessage(header: Uint8Array): Message {
  const message = decodeMessage(header);
  if (!message) throw new TransportError('garbage', 'a frame that is no message');
  return message;
}

/** Cuts a byte stream into frames, however it is chunked. */
export class FrameParser {
  /** The part of a prefix and header that has arrived. */
  #start: Buffer = Buffer.alloc(0);
  #payload: Uint8Array | undefined;
  #payloadFilled = 0;
  #header: Uint8Array = this.#start;
  /** When the last frame with a payload began to arrive, as `performance.now()` tells. */
  payloadBeganAt = 0;

  constructor(
    /** @param payload 8-byte aligned and the receiver's own; empty when the frame has none */
    private readonly onFrame: (header: Uint8Array, payload: Uint8Array) => void,
    public limits: FrameLimits = frameLimits,
  ) {}

  /** Takes the next bytes of the stream. @throws TransportError 'garbage' when they break a limit. */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) rest = this.#payload ? this.#takePayload(rest) : this.#takeStart(rest);
  }

  /** Whether the stream ended between two frames. */
  get idle(): boolean {
    return !this.#payload && this.#start.length === 0;
  }

  #takeStart(chunk: Buffer): Buffer {
    const bytes = this.#start.length > 0 ? Buffer.concat([this.#start, chunk]) : chunk;
    if (bytes.length < prefixBytes) return this.#keep(bytes);
    const headerBytes = bytes.readUInt16LE(4);
    const payloadBytes = bytes.readUInt32LE(0) - 2 - headerBytes;
    this.#check(headerBytes, payloadBytes);
    const end = prefixBytes + headerBytes;
    if (bytes.length < end) return this.#keep(bytes);
    this.#start = Buffer.alloc(0);
    this.#header = bytes.subarray(prefixBytes, end);
    if (payloadBytes === 0) {
      this.onFrame(this.#header, emptyPayload);
    } else {
      this.#payload = new Uint8Array(Buffer.allocUnsafeSlow(payloadBytes).buffer);
      this.#payloadFilled = 0;
      this.payloadBeganAt = performance.now();
    }
    return bytes.subarray(end);
  }

  #takePayload(chunk: Buffer): Buffer {
    const payload = this.#payload as Uint8Array;
    const part = chunk.subarray(0, payload.byteLength - this.#payloadFilled);
    payload.set(part, this.#payloadFilled);
    this.#payloadFilled += part.length;
    if (this.#payloadFilled === payload.byteLength) {
      this.#payload = undefined;
      if (this.#header.byteLength > 0) this.onFrame(this.#header, payload);
      else this.onFrame(payload, emptyPayload);
    }
    return chunk.subarray(part.length);
  }

  #keep(bytes: Buffer): Buffer {
    this.#start = Buffer.from(bytes);
    return Buffer.alloc(0);
  }

  #check(headerBytes: number, payloadBytes: number): void {
    if (
      headerBytes > this.limits.headerBytes ||
      payloadBytes < 0 ||
      payloadBytes > this.limits.payloadBytes
    )
      throw new TransportError(
        'garbage',
        `a frame with a header of ${headerBytes} and a payload of ${payloadBytes} bytes`,
      );
  }
}

const emptyPayload = new Uint8Array(0);
