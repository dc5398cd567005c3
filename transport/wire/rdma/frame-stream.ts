import { TransportError } from '../errors.js';
import type { OutgoingPayload } from '../tensor-channel.js';
import { frameFlags, headerOf, parseFrame, payloadAt, sealFrame } from './frame.js';
import { PayloadPieces } from './payload-pieces.js';

/** Where a stream's frames go. */
export interface FrameCarrier {
  /** Sends the first bytes of a slot, which do not change until the other side has said that they arrived. */
  sendSlot(slot: number, bytes: number): void;
  /** Sends a frame that need not arrive. */
  sendNotice(fill: (into: Uint8Array) => number): void;
}

/** A part of a message. */
export interface FramePart {
  /** The message's header; only with its first part. */
  readonly header: Uint8Array | undefined;
  /** Valid during the call. */
  readonly payload: Uint8Array;
  readonly isLast: boolean;
}

interface Job {
  readonly header: Uint8Array;
  readonly pieces: PayloadPieces | undefined;
  begun: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Room for a step's header, and for the body of one with few rows. */
const usualBytes = 512;

/**
 * Messages as numbered frames in a ring of slots, over a carrier that may lose them. A slot is used again only when the
 * other side has said that its frame arrived, so that whatever was lost is still there, and can be sent another way.
 * Neither sockets nor clocks: the owner brings frames, and says when to send by another carrier.
 */
export class FrameStream {
  bytesSent = 0;
  readonly #jobs: Job[] = [];
  /** Bytes of the frames in the slots. */
  readonly #lengths: number[];
  #sent = 0;
  #acknowledged = 0;
  #arrived = 0;
  #announced = 0;
  #inMessage = false;
  #hasEnded = false;
  /** Whether a frame was sent in this turn of the event loop. */
  #hasHadTurn = false;
  readonly #nextTurn = () => {
    this.#hasHadTurn = false;
    this.#pump();
  };
  /** Undefined while it is not known what has to be sent again. */
  #carrier: FrameCarrier | undefined;

  /**
   * @param slots of equal size, that frames are made in
   * @param onPart gets messages, in order
   * @param later does something when everything else has had its turn
   */
  constructor(
    private readonly slots: readonly Uint8Array[],
    carrier: FrameCarrier,
    private readonly onPart: (part: FramePart) => void,
    private readonly later: (action: () => void) => void,
  ) {
    this.#carrier = carrier;
    this.#lengths = slots.map(() => 0);
  }

  /** Frames sent so far, and those that the other side has not said to have arrived. */
  get sent(): number {
    return this.#sent;
  }
  get unacknowledged(): number {
    return this.#sent - this.#acknowledged;
  }

  /** Frames that have arrived, all up to this number. */
  get arrived(): number {
    return this.#arrived;
  }

  /**
   * Sends a message after those before it. Resolves when all of it is in slots, or the stream has ended; rejects when the
   * payload cannot be encoded, after which the other side may have a part of it.
   * @throws TransportError 'garbage' when the header is too long
   */
  send(header: Uint8Array, payload?: OutgoingPayload): Promise<void> {
    const { byteLength: slotBytes } = this.slots[0] as Uint8Array;
    if (payloadAt(header.byteLength) > slotBytes)
      throw new TransportError('garbage', `a header of ${header.byteLength} bytes is too long`);
    const pieces = payload && new PayloadPieces(payload, slotBytes - payloadAt(0));
    if (this.#hasEnded) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#jobs.push({ header, pieces, begun: false, resolve, reject });
      this.#pump();
    });
  }

  /**
   * Takes a frame.
   * @returns its flags
   * @throws TransportError 'garbage' when it is damaged, or one before it is missing
   */
  receive(bytes: Uint8Array): number {
    const frame = parseFrame(bytes);
    this.acknowledge(frame.arrived);
    if (frame.sequence === 0) return frame.flags;
    // What arrived on its old way may come again on the new one.
    if (frame.sequence <= this.#arrived) return 0;
    if (frame.sequence !== this.#arrived + 1)
      throw new TransportError('garbage', `frame ${this.#arrived + 1} was lost`);
    this.#arrived++;
    this.#deliver(frame.header, frame.payload, frame.flags);
    if (this.#arrived - this.#announced >= this.slots.length / 2) this.announce(0);
    return frame.flags;
  }

  /** The other side has these frames. @throws TransportError 'garbage' when they were never sent */
  acknowledge(arrived: number): void {
    if (arrived > this.#sent)
      throw new TransportError('garbage', `${arrived} frames arrived, ${this.#sent} were sent`);
    this.#acknowledged = Math.max(this.#acknowledged, arrived);
    this.#pump();
  }

  /** Says how many frames have arrived. */
  announce(flags: number): void {
    this.#announced = this.#arrived;
    this.#carrier?.sendNotice((into) => this.#seal(into, 0, flags, 0, 0));
  }

  /** Sends nothing until `resume`: the carrier has failed. */
  suspend(): void {
    this.#carrier = undefined;
  }

  /** Goes on over another carrier, first with what has not arrived. */
  resume(carrier: FrameCarrier, arrived: number): void {
    this.acknowledge(arrived);
    this.#carrier = carrier;
    for (let sequence = this.#acknowledged + 1; sequence <= this.#sent; sequence++) {
      const slot = (sequence - 1) % this.slots.length;
      carrier.sendSlot(slot, this.#lengths[slot] as number);
    }
    this.#pump();
  }

  /** Nothing more will be sent: whoever waits for that goes on. */
  end(): void {
    this.#hasEnded = true;
    this.suspend();
    for (const job of this.#jobs.splice(0)) job.resolve();
  }

  /** Sends one frame in each turn of the event loop, which many large ones would block. */
  #pump(): void {
    const job = this.#jobs[0];
    if (!this.#carrier || !job || this.#hasHadTurn || this.unacknowledged === this.slots.length)
      return;
    this.#hasHadTurn = true;
    this.later(this.#nextTurn);
    try {
      if (!this.#sendFrame(job, this.#carrier)) return;
      job.resolve();
    } catch (error) {
      job.reject(error);
    }
    this.#jobs.shift();
  }

  /** Makes and sends the next frame of a message. @returns whether it was the last */
  #sendFrame(job: Job, carrier: FrameCarrier): boolean {
    const slot = this.#sent % this.slots.length;
    const into = this.slots[slot] as Uint8Array;
    const header = job.begun ? nothing : job.header;
    headerOf(into, header.byteLength).set(header);
    const payloadBytes = job.pieces?.fill(into.subarray(payloadAt(header.byteLength))) ?? 0;
    const isLast = job.pieces?.isDone ?? true;
    job.begun = true;
    this.#sent++;
    const flags = isLast ? frameFlags.last : 0;
    const bytes = this.#seal(into, this.#sent, flags, header.byteLength, payloadBytes);
    this.#lengths[slot] = bytes;
    this.bytesSent += bytes;
    carrier.sendSlot(slot, bytes);
    return isLast;
  }

  #seal(
    into: Uint8Array,
    sequence: number,
    flags: number,
    headerBytes: number,
    payloadBytes: number,
  ): number {
    this.#announced = this.#arrived;
    const arrived = this.#arrived;
    return sealFrame(into, { sequence, arrived, flags, headerBytes, payloadBytes });
  }

  #deliver(header: Uint8Array, payload: Uint8Array, flags: number): void {
    const isLast = (flags & frameFlags.last) !== 0;
    const first = this.#inMessage ? undefined : header;
    this.#inMessage = !isLast;
    this.onPart({ header: first, payload, isLast });
  }
}

/** Bytes of a slot for rows of a size: with at least one row a step fits. */
export function neededSlotBytes(rowBytes: number): number {
  return payloadAt(usualBytes) + rowBytes;
}

const nothing = new Uint8Array(0);
