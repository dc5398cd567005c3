import { rowsOfStep, type Step } from '../../step/step.js';
import type { LatencySummary, Message, Messages } from '../messages/messages.js';
import type { Codec } from '../wire/codecs/codec.js';
import { TransportError } from '../wire/errors.js';
import { frameLimits } from '../wire/frames.js';
import {
  rowsAt,
  type MessagePart,
  type OutgoingPayload,
  type TensorChannel,
} from '../wire/tensor-channel.js';
import { ArrivingStep } from './arriving-step.js';
import { BusyTime } from './busy-time.js';
import { LinkLatency } from './link-latency.js';
import { encodeBody } from './steps.js';
import type { Tracer } from './tracer.js';

/**
 * Steps that may be under way on a link before the receiver has computed the first: as many as speculation has in
 * flight, so that receiving, computing and sending overlap over long links too while memory stays bounded.
 */
export const linkWindow = 8;

/** Sends steps to the next stage. */
export class TensorSender {
  /** Milliseconds of encoding. */
  encodeMs = 0;
  readonly #sending = new BusyTime();
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
      this.#sendWaiting();
    };
    // Whoever waits for credits must not wait for ever.
    void channel.closed.then(() => {
      this.#ended = true;
      this.#sendWaiting();
    });
  }

  /**
   * Sends one step as soon as the receiver has room for it, and after those that wait already. Resolves when it has been
   * encoded, so that `hidden` may be used again, or when the connection has ended, which is for `channel.closed` to tell.
   * @param hidden [rows, rowSize] f32, row-major; empty when the next stage embeds
   * @throws TransportError 'garbage' when the step is too long for the link, which goes on
   */
  send(step: Step, hidden: Float32Array): Promise<void> {
    this.#sending.begin();
    return new Promise<void>((resolve) => {
      const send = () => resolve(this.#ended ? undefined : this.#send(step, hidden));
      this.#waiting.push(send);
      this.#sendWaiting();
    }).finally(() => this.#sending.end());
  }

  #sendWaiting(): void {
    while (this.#credits > 0 || this.#ended) {
      const send = this.#waiting.shift();
      if (!send) return;
      send();
    }
  }

  async #send(step: Step, hidden: Float32Array): Promise<void> {
    this.#credits--;
    const begin = performance.now();
    let encodeMs = 0;
    const timed = <Result>(encode: () => Result): Result => {
      const from = performance.now();
      const result = encode();
      encodeMs += performance.now() - from;
      return result;
    };
    const { codec, rowSize } = this;
    try {
      const body = timed(() => encodeBody(step));
      const { id, epoch } = step;
      const receipt = this.#latency.sent(id);
      const payload = {
        body,
        rows: hidden.length === 0 ? 0 : rowsOfStep(step),
        rowBytes: codec.encodedBytes(1, rowSize),
        encode: (into: Uint8Array, first: number, count: number) =>
          timed(() => codec.encode(hidden.subarray(first * rowSize), count, rowSize, into)),
      };
      checkLength(payload);
      const message = { id, epoch, bodyBytes: body.byteLength, receipt };
      await this.channel.send('step', message, payload, () =>
        this.tracer?.record('send', id, begin),
      );
    } catch (error) {
      // Nothing of it has left, so there is room for another.
      this.#credits++;
      this.#sendWaiting();
      throw error;
    } finally {
      this.encodeMs += encodeMs;
      this.tracer?.record('encode', step.id, begin, begin + encodeMs);
    }
  }

  /** Milliseconds in which steps waited for room, at the receiver or in the link, or were handed over. */
  get sendMs(): number {
    return Math.max(0, this.#sending.ms - this.encodeMs);
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
    this.#sending.reset();
    this.encodeMs = 0;
    this.channel.bytesSent = 0;
  }
}

/** The receiver would end the link, over whatever channel. */
function checkLength({ body, rows, rowBytes }: OutgoingPayload): void {
  const bytes = rowsAt(body.byteLength) + rows * rowBytes;
  if (bytes > frameLimits.payloadBytes)
    throw new TransportError('garbage', `a step of ${bytes} bytes is too long: use smaller chunks`);
}

/** Receives steps from the previous stage, decoded. */
export class TensorReceiver {
  /** Milliseconds of decoding. */
  decodeMs = 0;
  readonly #freeHidden: Float32Array[] = [];
  #unacknowledged = 0;
  #arriving: ArrivingStep | undefined;

  /**
   * @param onStep gets hidden states [rows, rowSize] f32 (empty when none came), which are its own until it calls
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
    const arriving = message ? this.#begin(message) : this.#arriving;
    if (!arriving) throw new TransportError('garbage', 'a part of no message');
    this.#arriving = isLast ? undefined : arriving;
    arriving.add(payload);
    const decodedAt = performance.now();
    this.decodeMs += decodedAt - arrivedAt;
    this.tracer?.record('decode', arriving.id, arrivedAt, decodedAt);
    if (!isLast) return;
    this.tracer?.record('receive', arriving.id, this.channel.payloadBeganAt, arrivedAt);
    this.#finish(arriving);
  }

  #begin(message: Message): ArrivingStep {
    if (message.kind !== 'step') throw new TransportError('garbage', `a ${message.kind} here`);
    if (++this.#unacknowledged > linkWindow)
      throw new TransportError('garbage', 'more steps than were allowed');
    if (message.body.receipt) this.#say({ steps: 0, receipt: message.body.id });
    return new ArrivingStep(message.body, this.codec, this.rowSize, (values) =>
      this.#takeBuffer(values),
    );
  }

  #finish(arriving: ArrivingStep): void {
    const { step, hidden } = arriving.finish();
    let isReleased = false;
    this.onStep(step, hidden, () => {
      if (isReleased) return;
      isReleased = true;
      if (hidden.length > 0) this.#freeHidden.push(new Float32Array(hidden.buffer));
      this.#unacknowledged--;
      this.#say({ steps: 1, receipt: 0 });
    });
  }

  #takeBuffer(values: number): Float32Array {
    const free = this.#freeHidden.pop();
    return free && free.length >= values ? free : new Float32Array(values);
  }

  #say(credit: Messages['credit']): void {
    // When it cannot be sent, the connection ends, and says why.
    this.channel.send('credit', credit).catch(() => undefined);
  }
}
