import type { Codec } from './codecs/codec.js';
import { TransportError } from './errors.js';
import { LinkLatency } from './link-latency.js';
import type { LatencySummary, Message } from './messages.js';
import type { Tracer } from './tracer.js';
import { readStep, stepMessage, type Step } from './steps.js';
import type { MessagePart, OutgoingPayload, TensorChannel } from './tensor-channel.js';

/**
 * Steps that may be under way on a link before the receiver has computed the first: as many as speculation has in
 * flight, so that receiving, computing and sending overlap over long links too while memory stays bounded.
 */
export const linkWindow = 8;

/** Sends steps to the next stage. Encoding happens at once; the caller's hidden states are free when `send` returns. */
export class TensorSender {
  encodeMs = 0;
  sendMs = 0;
  readonly #latency = new LinkLatency();
  #credits = linkWindow;
  #ended = false;
  /** Sends that wait for credits, in order. */
  readonly #waiting: (() => void)[] = [];

  constructor(
    private readonly channel: TensorChannel,
    private readonly codec: Codec,
    private readonly rowSize: number,
    private readonly tracer?: Tracer,
  ) {
    channel.onPart = ({ message }) => {
      if (message?.kind !== 'credit')
        throw new TransportError('garbage', `a ${message?.kind ?? 'part of a message'} here`);
      this.#latency.arrived(message.body.receipt);
      this.#credits = Math.min(linkWindow, this.#credits + message.body.steps);
      while (this.#credits > 0 && this.#waiting.length > 0) this.#waiting.shift()?.();
    };
    // Whoever waits for credits must not wait for ever.
    void channel.closed.then(() => {
      this.#ended = true;
      for (const send of this.#waiting.splice(0)) send();
    });
  }

  /**
   * Sends one step as soon as the receiver has room for it, and after those that wait already. Resolves when it has been
   * encoded, or the connection has ended.
   * @param hidden [n, rowSize] f32, row-major; empty when the next stage embeds
   */
  send(step: Step, hidden: Float32Array): Promise<void> {
    const begin = performance.now();
    return new Promise((resolve, reject) => {
      const send = () => {
        this.#send(step, hidden, begin).then(resolve, reject);
      };
      if (this.#ended || (this.#credits > 0 && this.#waiting.length === 0)) send();
      else this.#waiting.push(send);
    });
  }

  #send(step: Step, hidden: Float32Array, begin: number): Promise<void> {
    this.#credits--;
    const waited = performance.now();
    this.sendMs += waited - begin;
    const message = stepMessage(step, this.#latency.sent(step.id));
    if (hidden.length === 0) return this.channel.send('step', message);

    const encodedBefore = this.encodeMs;
    const payload = this.#payload(hidden, step.tokens.length);
    const sent = this.channel.send('step', message, payload, () =>
      this.tracer?.record('send', step.id, waited),
    );
    const encodeMs = this.encodeMs - encodedBefore;
    this.tracer?.record('encode', step.id, waited, waited + encodeMs);
    this.sendMs += performance.now() - waited - encodeMs;
    return sent;
  }

  #payload(hidden: Float32Array, rows: number): OutgoingPayload {
    const { codec, rowSize } = this;
    return {
      rows,
      rowBytes: codec.encodedBytes(1, rowSize),
      encode: (into, first, count) => {
        const begin = performance.now();
        codec.encode(hidden.subarray(first * rowSize), count, rowSize, into);
        this.encodeMs += performance.now() - begin;
      },
    };
  }

  /** Bytes sent since the last reset, frames and all. */
  get bytesSent(): number {
    return this.channel.bytesSent;
  }

  /** Times from sending a step to its receipt, of a sample of steps. */
  get latency(): LatencySummary {
    return this.#latency.summary;
  }

  resetStats(): void {
    this.#latency.reset();
    this.encodeMs = 0;
    this.sendMs = 0;
    this.channel.bytesSent = 0;
  }
}

/** A step of which some rows may still be on their way. */
interface Arriving {
  readonly step: Step;
  readonly buffer: Float32Array | undefined;
  rows: number;
}

/** Receives steps from the previous stage, decoded. */
export class TensorReceiver {
  decodeMs = 0;
  readonly #freeHidden: Float32Array[] = [];
  #unacknowledged = 0;
  #arriving: Arriving | undefined;

  /**
   * @param onStep gets hidden states [n, rowSize] f32 (empty when none came), which are its own until it calls
   * `release`; that also lets the sender send another step
   */
  constructor(
    private readonly channel: TensorChannel,
    private readonly codec: Codec,
    private readonly rowSize: number,
    private readonly onStep: (step: Step, hidden: Float32Array, release: () => void) => void,
    private readonly tracer?: Tracer,
  ) {
    channel.onPart = (part) => this.#receive(part);
  }

  /** Bytes received since the last reset, frames and all. */
  get bytesReceived(): number {
    return this.channel.bytesReceived;
  }

  resetStats(): void {
    this.decodeMs = 0;
    this.channel.bytesReceived = 0;
  }

  #receive({ message, payload, isLast }: MessagePart): void {
    const arrivedAt = performance.now();
    const arriving = message ? this.#begin(message, payload, isLast) : this.#arriving;
    if (!arriving) throw new TransportError('garbage', 'a part of no message');
    this.#arriving = isLast ? undefined : arriving;
    if (payload.byteLength > 0) this.#decode(payload, arriving);
    if (isLast) this.#finish(arriving, arrivedAt);
  }

  #begin(message: Message, payload: Uint8Array, isLast: boolean): Arriving {
    if (message.kind !== 'step') throw new TransportError('garbage', `a ${message.kind} here`);
    if (++this.#unacknowledged > linkWindow)
      throw new TransportError('garbage', 'more steps than were allowed');
    const step = readStep(message.body);
    if (message.body.receipt)
      void this.channel.send('credit', { steps: 0, receipt: message.body.id });
    const hasHidden = payload.byteLength > 0 || !isLast;
    const buffer = hasHidden ? this.#takeBuffer(step.tokens.length * this.rowSize) : undefined;
    return { step, buffer, rows: 0 };
  }

  #decode(payload: Uint8Array, arriving: Arriving): void {
    const begin = performance.now();
    const { step, buffer } = arriving;
    const rows = payload.byteLength / this.codec.encodedBytes(1, this.rowSize);
    if (!buffer || !Number.isInteger(rows) || arriving.rows + rows > step.tokens.length)
      throw new TransportError(
        'garbage',
        `${payload.byteLength} bytes of hidden states for ${step.tokens.length} tokens`,
      );
    this.codec.decode(payload, rows, this.rowSize, buffer.subarray(arriving.rows * this.rowSize));
    arriving.rows += rows;
    const end = performance.now();
    this.decodeMs += end - begin;
    this.tracer?.record('decode', step.id, begin, end);
  }

  #finish({ step, buffer, rows }: Arriving, arrivedAt: number): void {
    if (buffer && rows < step.tokens.length)
      throw new TransportError(
        'garbage',
        `${rows} rows of hidden states for ${step.tokens.length} tokens`,
      );
    const beganAt = buffer ? this.channel.payloadBeganAt : arrivedAt;
    this.tracer?.record('receive', step.id, beganAt, arrivedAt);
    const hidden = buffer?.subarray(0, step.tokens.length * this.rowSize) ?? noHidden;
    let released = false;
    this.onStep(step, hidden, () => {
      if (released) return;
      released = true;
      if (buffer) this.#freeHidden.push(buffer);
      this.#release();
    });
  }

  #takeBuffer(values: number): Float32Array {
    const free = this.#freeHidden.pop();
    return free && free.length >= values ? free : new Float32Array(values);
  }

  #release(): void {
    this.#unacknowledged--;
    void this.channel.send('credit', { steps: 1, receipt: 0 });
  }
}

const noHidden = new Float32Array(0);
