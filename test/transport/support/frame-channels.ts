import {
  encodeMessage,
  type MessageKind,
  type Messages,
} from '../../../transport/messages/messages.js';
import type { TransportError } from '../../../transport/wire/errors.js';
import { readMessage } from '../../../transport/wire/frames.js';
import { FrameStream, type FrameCarrier } from '../../../transport/wire/rdma/frame-stream.js';
import type {
  MessagePart,
  OutgoingPayload,
  TensorChannel,
} from '../../../transport/wire/tensor-channel.js';

/** One end of a channel whose frames go to another end in this process, as they would by RDMA. */
export class FrameChannel implements TensorChannel {
  readonly name = 'frames';
  bytesSent = 0;
  bytesReceived = 0;
  payloadBeganAt = 0;
  readonly closed: Promise<TransportError>;
  onPart: ((part: MessagePart) => void) | undefined;
  readonly stream: FrameStream;
  #end!: (reason: TransportError) => void;
  #other: FrameChannel | undefined;

  constructor(slots: number, slotBytes: number) {
    this.closed = new Promise((resolve) => (this.#end = resolve));
    const ring = Array.from({ length: slots }, () => new Uint8Array(slotBytes));
    this.stream = new FrameStream(
      ring,
      this.#carrier(ring),
      ({ header, payload, isLast }) =>
        this.onPart?.({ message: header && readMessage(header), payload, isLast }),
      setImmediate,
    );
  }

  static pair(slots: number, slotBytes: number): { near: FrameChannel; far: FrameChannel } {
    const [near, far] = [new FrameChannel(slots, slotBytes), new FrameChannel(slots, slotBytes)];
    near.#other = far;
    far.#other = near;
    return { near, far };
  }

  async send<Kind extends MessageKind>(
    kind: Kind,
    body: Messages[Kind],
    payload?: OutgoingPayload,
    onSent?: () => void,
  ): Promise<void> {
    await this.stream.send(encodeMessage(kind, body), payload);
    onSent?.();
  }

  end(reason: TransportError): void {
    this.stream.end();
    this.#end(reason);
  }

  #carrier(ring: readonly Uint8Array[]): FrameCarrier {
    const carry = (frame: Uint8Array) => setImmediate(() => this.#other?.stream.receive(frame));
    return {
      sendSlot: (slot, bytes) => carry((ring[slot] as Uint8Array).slice(0, bytes)),
      sendNotice: (fill) => {
        const notice = new Uint8Array(64);
        carry(notice.subarray(0, fill(notice)));
      },
    };
  }
}
