import type { Logger } from 'pino';
import type { Connection } from '../connection.js';
import { TransportError } from '../errors.js';
import { readMessage } from '../frames.js';
import {
  encodeMessage,
  type MessageKind,
  type Messages,
  type QueueAddress,
} from '../../messages/messages.js';
import type { MessagePart, OutgoingPayload, TensorChannel } from '../tensor-channel.js';
import { completionCause } from './causes.js';
import { CompletionQueue } from './completions.js';
import type { Endpoint } from './devices.js';
import { frameFlags, isNotice } from './frame.js';
import { FrameStream, type FrameCarrier, type FramePart } from './frame-stream.js';
import { QueuePair, type QueueKind } from './queue-pair.js';
import { LossWatch } from './loss-watch.js';
import { noticeBytes, Ring, type Slot } from './ring.js';

/** Frames that are sent at most to find out whether one comes back. */
const probes = 10;

/** Tensors by RDMA beside a connection, which takes over when frames are lost or the device fails. */
export class RdmaChannel implements TensorChannel {
  bytesReceived = 0;
  payloadBeganAt = 0;
  readonly #ring: Ring;
  readonly #completions: CompletionQueue;
  readonly #pair: QueuePair;
  readonly #stream: FrameStream;
  readonly #losses: LossWatch;
  #onPart: ((part: MessagePart) => void) | undefined;
  /** Frames by RDMA that nobody has looked at yet: receive request and bytes. */
  #waiting: [id: number, bytes: number][] = [];
  /** Frames over the connection that nobody has looked at yet. */
  readonly #waitingFrames: Uint8Array[] = [];
  #fallenBack = false;
  #closed = false;
  #notice = 0;
  #onEcho: (() => void) | undefined;

  /**
   * Its queue pair is ready to be connected, with buffers posted.
   * @throws TransportError 'rdma'
   */
  constructor(
    private readonly connection: Connection,
    endpoint: Endpoint,
    kind: QueueKind,
    slotBytes: number,
    private readonly logger: Logger,
  ) {
    const { device } = endpoint;
    this.name = `rdma (${kind}, ${device.name})`;
    const undo: (() => void)[] = [];
    try {
      this.#ring = new Ring(device, slotBytes);
      undo.push(() => this.#ring.free());
      this.#completions = new CompletionQueue(device, {
        onReceived: (id, bytes) => this.#received(id, bytes),
        onFailed: (status) => this.giveUp(completionCause(status)),
      });
      undo.push(() => this.#completions.close());
      this.#pair = new QueuePair(endpoint, kind, this.#completions.pointer);
      undo.push(() => this.#pair.destroy());
      for (const { request } of this.#ring.arriving) this.#pair.receive(request);
    } catch (error) {
      for (const free of undo.reverse()) free();
      throw error;
    }
    this.#stream = new FrameStream(
      this.#ring.frames.map(({ bytes }) => bytes),
      this.#byRdma(),
      (part) => this.#deliver(part),
      setImmediate,
    );
    this.#losses = new LossWatch(
      connection,
      this.#stream,
      kind,
      () => this.#waiting.length,
      (cause) => this.giveUp(cause),
    );
    void connection.closed.then(() => this.close());
  }

  readonly name: string;

  /** What the other end needs to connect its queue pair. */
  get address(): QueueAddress {
    return this.#pair.address;
  }

  get closed(): Promise<TransportError> {
    return this.connection.closed;
  }

  get bytesSent(): number {
    return this.#stream.bytesSent;
  }
  set bytesSent(bytes: number) {
    this.#stream.bytesSent = bytes;
  }

  /** Connects the queue pair. @throws TransportError 'rdma', after which it may still be given up */
  connect(other: QueueAddress): void {
    this.connection.onMessage = (message, payload) => {
      if (message.kind === 'frame') this.#receivedFrame(payload);
      else if (message.kind === 'framesSent') this.#asked(message.body.count);
      else if (message.kind === 'framesArrived') this.#stream.acknowledge(message.body.count);
      else if (message.kind === 'rdmaEnded') this.#otherGaveUp(message.body);
      else throw new TransportError('garbage', `a ${message.kind} here`);
    };
    this.#pair.connect(other);
  }

  /** Whether a frame goes to the other side and one comes back within a time. One may be lost, so it is sent again. */
  async probe(timeoutMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const echoed = new Promise<boolean>((resolve) => {
      this.#onEcho = () => resolve(true);
      timer = setTimeout(() => resolve(false), timeoutMs);
      void this.connection.closed.then(() => resolve(false));
    });
    const send = () => this.#stream.announce(frameFlags.probe);
    const repeated = setInterval(send, timeoutMs / probes);
    send();
    const isThere = await echoed;
    clearInterval(repeated);
    clearTimeout(timer);
    return isThere && !this.#fallenBack;
  }

  set onPart(handler: ((part: MessagePart) => void) | undefined) {
    this.#onPart = handler;
    for (const [id, bytes] of this.#waiting.splice(0)) this.#received(id, bytes);
    for (const frame of this.#waitingFrames.splice(0)) this.#receivedFrame(frame);
  }

  async send<Kind extends MessageKind>(
    kind: Kind,
    body: Messages[Kind],
    payload?: OutgoingPayload,
    onSent?: () => void,
  ): Promise<void> {
    await this.#stream.send(encodeMessage(kind, body), payload).catch((cause: unknown) => {
      const what = `${this.connection.peer}: a message was broken off`;
      this.connection.fail(new TransportError('closed', what, { cause }));
      throw cause;
    });
    onSent?.();
  }

  /** Gives up RDMA: whatever has not arrived, and all that follows, goes over the connection. */
  giveUp(cause: string): void {
    if (!this.#leaveRdma()) return;
    this.logger.warn(`${this.connection.peer}: going on over TCP, RDMA has failed: ${cause}`);
    this.connection.send('rdmaEnded', { arrived: this.#stream.arrived, cause });
  }

  /** Frees all that it has; the connection stays. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#losses.end();
    this.#stream.end();
    if (!this.#fallenBack) this.#pair.destroy();
    this.#completions.close();
    this.#ring.free();
  }

  #receivedFrame(frame: Uint8Array): void {
    if (!this.#onPart) {
      if (this.#waitingFrames.length === this.#ring.frames.length)
        throw new TransportError('garbage', 'more frames than there is room for');
      return void this.#waitingFrames.push(frame.slice());
    }
    this.bytesReceived += frame.byteLength;
    try {
      this.#stream.receive(frame);
    } catch (error) {
      this.#blame(error);
    }
  }

  #received(id: number, bytes: number): void {
    if (this.#fallenBack || this.#closed) return;
    const slot = this.#ring.arriving[id] as Slot;
    const frame = slot.bytes.subarray(0, bytes);
    // Without a handler frames wait in their slots, and their sender for room. Notices do not wait.
    const isExpected = bytes <= noticeBytes && isNotice(frame);
    if (!this.#onPart && !isExpected) return void this.#waiting.push([id, bytes]);
    this.bytesReceived += bytes;
    try {
      const flags = this.#stream.receive(frame);
      if (flags & frameFlags.probe) this.#stream.announce(frameFlags.echo);
      if (flags & frameFlags.echo) this.#onEcho?.();
      if (!this.#closed) this.#offer(slot);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.giveUp(error.message);
    }
  }

  #deliver({ header, payload, isLast }: FramePart): void {
    if (header) this.payloadBeganAt = performance.now();
    try {
      this.#onPart?.({ message: header && readMessage(header), payload, isLast });
    } catch (error) {
      this.#blame(error);
    }
  }

  /** What is wrong with a message is the peer's fault, not the device's. */
  #blame(cause: unknown): void {
    const what = cause instanceof Error ? cause.message : String(cause);
    const { peer } = this.connection;
    this.connection.fail(new TransportError('garbage', `${peer} sent garbage: ${what}`, { cause }));
  }

  #offer(slot: Slot): void {
    try {
      this.#pair.receive(slot.request);
    } catch (error) {
      this.giveUp((error as Error).message);
    }
  }

  #byRdma(): FrameCarrier {
    const { frames, notices } = this.#ring;
    return {
      sendSlot: (slot, bytes) => {
        this.#post(frames[slot] as Slot, bytes);
        this.#losses.sent();
      },
      sendNotice: (fill) => {
        this.#notice = (this.#notice + 1) % notices.length;
        const slot = notices[this.#notice] as Slot;
        this.#post(slot, fill(slot.bytes));
      },
    };
  }

  #post({ request }: Slot, bytes: number): void {
    request.bytes = bytes;
    try {
      this.#pair.send(request);
      this.#completions.sending();
    } catch (error) {
      // Not within the stream's own work: it has not finished with this frame.
      queueMicrotask(() => this.giveUp((error as Error).message));
    }
  }

  #byConnection(): FrameCarrier {
    return {
      // A copy: the socket may still hold it when our memory is freed.
      sendSlot: (slot, bytes) =>
        this.connection.send('frame', {}, this.#ring.frames[slot]?.bytes.slice(0, bytes)),
      sendNotice: () => this.connection.send('framesArrived', { count: this.#stream.arrived }),
    };
  }

  #asked(sent: number): void {
    if (!this.#fallenBack) this.#losses.asked(sent);
  }

  #otherGaveUp({ arrived, cause }: Messages['rdmaEnded']): void {
    this.giveUp(cause);
    this.#stream.resume(this.#byConnection(), arrived);
  }

  /** @returns false when that was done before */
  #leaveRdma(): boolean {
    if (this.#fallenBack || this.#closed) return false;
    this.#fallenBack = true;
    // What arrived and was not looked at will be sent again.
    this.#waiting = [];
    this.#losses.end();
    this.#stream.suspend();
    this.#pair.destroy();
    return true;
  }
}
