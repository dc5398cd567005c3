import type net from 'node:net';
import type { Duplex } from 'node:stream';
import { TransportError } from './errors.js';
import { FrameParser, frameLimits, frameStart, readMessage, type FrameLimits } from './frames.js';
import {
  encodeMessage,
  type Message,
  type MessageKind,
  type Messages,
} from '../messages/messages.js';

/** How a connection notices that its peer is gone. */
export interface Heartbeats {
  /** Milliseconds between two heartbeats. */
  readonly intervalMs: number;
  /** Intervals without a byte from the peer before it counts as gone. */
  readonly missed: number;
}

export const defaultHeartbeats: Heartbeats = { intervalMs: 1000, missed: 4 };

/** Waits this long for a goodbye to be sent before the socket is destroyed. */
const lingerMs = 500;

/** Payloads up to this many bytes are copied behind their header: one buffer is written sooner than two. */
const copiedBytes = 16_384;

/** Framed messages over one socket. It ends exactly once, with a reason that names the peer. */
export class Connection {
  /** Resolves with the reason when the connection has ended; never rejects. */
  readonly closed: Promise<TransportError>;
  bytesSent = 0;
  bytesReceived = 0;
  #end!: (reason: TransportError) => void;
  #ended = false;
  #handler: ((message: Message, payload: Uint8Array) => void) | undefined;
  #early: [Message, Uint8Array][] = [];
  #parser: FrameParser;
  #heartbeat: NodeJS.Timeout | undefined;
  #silentIntervals = 0;
  #sentSinceHeartbeat = false;
  /** Who waits for the socket to take more. */
  readonly #unflushed: (() => void)[] = [];

  /** @param peer how messages call the other side, such as `worker 10.0.0.2:7070` */
  constructor(
    private readonly socket: Duplex,
    readonly peer: string,
    limits: FrameLimits = frameLimits,
  ) {
    this.closed = new Promise((resolve) => (this.#end = resolve));
    this.#parser = new FrameParser((header, payload) => this.#receive(header, payload), limits);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => this.#flush());
    socket.on('error', (cause: NodeJS.ErrnoException) => {
      const what = `${peer}: connection lost (${cause.code ?? cause.message})`;
      this.#finish(new TransportError('closed', what, { cause }));
    });
    socket.on('end', () => this.#finish(this.#endOfStream()));
    socket.on('close', () =>
      this.#finish(new TransportError('closed', `${peer}: connection closed`)),
    );
  }

  /**
   * Where messages go; those that came before it was set are delivered first. Without it the connection does not read
   * on, so that a peer cannot fill our memory with them.
   */
  set onMessage(handler: ((message: Message, payload: Uint8Array) => void) | undefined) {
    this.#handler = handler;
    this.#guard(() => {
      while (this.#handler && !this.#ended) {
        const early = this.#early.shift();
        if (!early) break;
        this.#handler(...early);
      }
    });
    if (!this.#handler || this.#ended) return;
    this.#silentIntervals = 0;
    this.socket.resume();
  }

  /** When the last frame with a payload began to arrive, as `performance.now()` tells. */
  get payloadBeganAt(): number {
    return this.#parser.payloadBeganAt;
  }

  /** This end's IP address; empty when it has none. */
  get localAddress(): string {
    const { localAddress } = this.socket as Partial<net.Socket>;
    return (localAddress ?? '').replace(/^::ffff:/, '');
  }

  set limits(limits: FrameLimits) {
    this.#parser.limits = limits;
  }

  /** Begins to send heartbeats and to expect some sign of life from the peer. */
  startHeartbeats({ intervalMs, missed }: Heartbeats = defaultHeartbeats): void {
    if (this.#ended) return;
    clearInterval(this.#heartbeat);
    // Intervals are counted, not time: a process that was asleep itself must not blame its peer.
    this.#heartbeat = setInterval(() => {
      // Who does not read cannot hear.
      if (!this.socket.isPaused() && ++this.#silentIntervals > missed)
        return this.#finish(
          new TransportError(
            'timeout',
            `${this.peer} did not answer for ${(intervalMs * missed) / 1000} s`,
          ),
        );
      if (!this.#sentSinceHeartbeat) this.send('heartbeat', {});
      this.#sentSinceHeartbeat = false;
    }, intervalMs);
  }

  /**
   * Sends a message. After the end of the connection it does nothing: `closed` has the reason.
   * @param payload raw bytes; they must not change until `onWritten` is called
   */
  send<Kind extends MessageKind>(
    kind: Kind,
    body: Messages[Kind],
    payload?: Uint8Array,
    onWritten?: () => void,
  ): void {
    if (this.#ended) return onWritten?.();
    const payloadBytes = payload?.byteLength ?? 0;
    const start = frameStart(encodeMessage(kind, body), payloadBytes);
    this.#sentSinceHeartbeat = true;
    this.bytesSent += start.byteLength + payloadBytes;
    const written = onWritten && (() => onWritten());
    if (!payload) this.socket.write(start, written);
    else if (payloadBytes <= copiedBytes)
      this.socket.write(Buffer.concat([start, payload]), written);
    else {
      this.socket.cork();
      this.socket.write(start);
      this.socket.write(payload, written);
      this.socket.uncork();
    }
  }

  /** Resolves when the socket has taken what was sent, or the connection has ended. */
  flushed(): Promise<void> {
    if (!this.socket.writableNeedDrain || this.#ended) return Promise.resolve();
    return new Promise((resolve) => this.#unflushed.push(resolve));
  }

  /** Ends the connection and tells the peer why. */
  close(reason: string): void {
    if (this.#ended) return;
    this.send('goodbye', { reason });
    this.#finish(new TransportError('closed', `${this.peer}: ${reason}`));
  }

  /** Ends the connection because of what the peer did. */
  fail(error: TransportError): void {
    this.#finish(error);
  }

  #read(chunk: Buffer): void {
    this.bytesReceived += chunk.length;
    this.#silentIntervals = 0;
    if (!this.#ended) this.#guard(() => this.#parser.push(chunk));
  }

  /** Whatever cannot be parsed or handled ends this connection, and nothing else. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : String(cause);
      this.send('goodbye', { reason: `this side sent garbage: ${what}` });
      this.#finish(new TransportError('garbage', `${this.peer} sent garbage: ${what}`, { cause }));
    }
  }

  #receive(header: Uint8Array, payload: Uint8Array): void {
    if (this.#ended) return;
    const message = readMessage(header);
    if (message.kind === 'heartbeat') return;
    if (message.kind === 'goodbye')
      return this.#finish(new TransportError('closed', `${this.peer}: ${message.body.reason}`));
    if (this.#handler) {
      this.#handler(message, payload);
    } else {
      this.#early.push([message, payload]);
      this.socket.pause();
    }
  }

  #endOfStream(): TransportError {
    const where = this.#parser.idle ? 'connection closed' : 'connection closed within a frame';
    return new TransportError('closed', `${this.peer}: ${where}`);
  }

  #flush(): void {
    for (const resolve of this.#unflushed.splice(0)) resolve();
  }

  #finish(reason: TransportError): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#heartbeat);
    this.#early = [];
    this.#flush();
    // The end of the other side must be read to be noticed.
    this.socket.resume();
    this.socket.end();
    setTimeout(() => this.socket.destroy(), lingerMs).unref();
    this.#end(reason);
  }
}
