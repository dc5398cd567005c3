import { TransportError } from '../errors.js';
import type { OutgoingPayload } from '../tensor-channel.js';
import { frameBody, frameFlags, frameHeaderBytes, parseFrame, sealFrame } from './frame.js';

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
  /** Whole rows; valid during the call. */
  readonly payload: Uint8Array;
  readonly isLast: boolean;
}

interface Job {
  readonly header: Uint8Array;
  readonly payload: OutgoingPayload | undefined;
  /** Rows, or bytes of `whole`, that have been sent. */
  sent: number;
  begun: boolean;
  /** The payload in one piece, where not even a row fits a slot. */
  whole: Uint8Array | undefined;
  readonly resolve: () => void;
}

/** Room for a message's own header in a frame that has payload too: it is larger only with long prompts. */
const usualHeaderBytes = 512;

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
  #assembly: { header: Uint8Array; parts: Uint8Array[] } | undefined;
  #inMessage = false;
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

  /** Sends a message after those before it. Resolves when all of it is in slots. */
  send(header: Uint8Array, payload?: OutgoingPayload): Promise<void> {
    return new Promise((resolve) => {
      this.#jobs.push({ header, payload, sent: 0, begun: false, whole: undefined, resolve });
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
    const slot = this.#sent % this.slots.length;
    const isDone = this.#fill(job, slot);
    const bytes = this.#lengths[slot] as number;
    this.#carrier.sendSlot(slot, bytes);
    this.bytesSent += bytes;
    if (!isDone) return;
    this.#jobs.shift();
    job.resolve();
  }

  /** Makes the next frame of a message. @returns whether it is the last */
  #fill(job: Job, slot: number): boolean {
    const into = this.slots[slot] as Uint8Array;
    const body = frameBody(into);
    const header = job.begun ? nothing : job.header;
    body.set(header);
    job.begun = true;
    const room = body.subarray(header.byteLength);
    const { payloadBytes, flags } = this.#fillPayload(job, room, body.byteLength);
    this.#sent++;
    this.#lengths[slot] = this.#seal(into, this.#sent, flags, header.byteLength, payloadBytes);
    return (flags & frameFlags.last) !== 0;
  }

  #fillPayload(
    job: Job,
    room: Uint8Array,
    mostRoom: number,
  ): { payloadBytes: number; flags: number } {
    const { payload } = job;
    if (!payload) return { payloadBytes: 0, flags: frameFlags.last };
    if (payload.rowBytes > mostRoom - usualHeaderBytes) return fillCut(job, payload, room);
    const rows = Math.min(payload.rows - job.sent, Math.floor(room.byteLength / payload.rowBytes));
    const payloadBytes = rows * payload.rowBytes;
    if (rows > 0) payload.encode(room.subarray(0, payloadBytes), job.sent, rows);
    job.sent += rows;
    return { payloadBytes, flags: job.sent === payload.rows ? frameFlags.last : 0 };
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
    if ((flags & frameFlags.cut) === 0) return this.onPart({ header: first, payload, isLast });
    if (first) this.#assembly = { header: first.slice(), parts: [] };
    this.#assembly?.parts.push(payload.slice());
    if (!isLast || !this.#assembly) return;
    const { header: whole, parts } = this.#assembly;
    this.#assembly = undefined;
    this.onPart({ header: whole, payload: Buffer.concat(parts), isLast });
  }
}

/** Not even a row fits a slot: the payload is encoded aside, and cut. */
function fillCut(
  job: Job,
  payload: OutgoingPayload,
  room: Uint8Array,
): { payloadBytes: number; flags: number } {
  if (!job.whole) {
    job.whole = new Uint8Array(payload.rows * payload.rowBytes);
    payload.encode(job.whole, 0, payload.rows);
  }
  const piece = job.whole.subarray(job.sent, job.sent + room.byteLength);
  room.set(piece);
  job.sent += piece.byteLength;
  const isLast = job.sent === job.whole.byteLength;
  return {
    payloadBytes: piece.byteLength,
    flags: frameFlags.cut | (isLast ? frameFlags.last : 0),
  };
}

/** Bytes of a slot for rows of a size: at least one row and a usual header fit. */
export function neededSlotBytes(rowBytes: number): number {
  return frameHeaderBytes + usualHeaderBytes + rowBytes;
}

const nothing = new Uint8Array(0);
