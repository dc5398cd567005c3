import type { Codec } from './codecs/codec.js';
import type { Connection } from './connection.js';
import { TransportError } from './errors.js';
import { LinkLatency } from './link-latency.js';
import type { LatencySummary } from './messages.js';
import type { Tracer } from './tracer.js';
import { readStep, stepMessage, type Step } from './steps.js';

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
  readonly #freeBuffers: Uint8Array[] = [];

  constructor(
    private readonly connection: Connection,
    private readonly codec: Codec,
    private readonly rowSize: number,
    private readonly tracer?: Tracer,
  ) {
    connection.onMessage = (message) => {
      if (message.kind !== 'credit') throw new TransportError('garbage', `a ${message.kind} here`);
      this.#latency.arrived(message.body.receipt);
      this.#credits = Math.min(linkWindow, this.#credits + message.body.steps);
      while (this.#credits > 0 && this.#waiting.length > 0) this.#waiting.shift()?.();
    };
    // Whoever waits for credits must not wait for ever.
    void connection.closed.then(() => {
      this.#ended = true;
      for (const send of this.#waiting.splice(0)) send();
    });
  }

  /**
   * Sends one step as soon as the receiver has room for it, and after those that wait already. Resolves when it has been
   * handed to the socket, or the connection has ended.
   * @param hidden [n, rowSize] f32, row-major; empty when the next stage embeds
   */
  send(step: Step, hidden: Float32Array): Promise<void> {
    const begin = performance.now();
    return new Promise((resolve, reject) => {
      const send = () => {
        try {
          this.#send(step, hidden, begin);
          resolve();
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      if (this.#ended || (this.#credits > 0 && this.#waiting.length === 0)) send();
      else this.#waiting.push(send);
    });
  }

  #send(step: Step, hidden: Float32Array, begin: number): void {
    this.#credits--;
    const waited = performance.now();
    this.sendMs += waited - begin;
    const message = stepMessage(step, this.#latency.sent(step.id));
    if (hidden.length === 0) return this.connection.send('step', message);

    const rows = step.tokens.length;
    const bytes = this.codec.encodedBytes(rows, this.rowSize);
    const buffer = this.#takeBuffer(bytes);
    const payload = buffer.subarray(0, bytes);
    this.codec.encode(hidden, rows, this.rowSize, payload);
    const encoded = performance.now();
    this.tracer?.record('encode', step.id, waited, encoded);
    this.connection.send('step', message, payload, () => {
      this.#freeBuffers.push(buffer);
      this.tracer?.record('send', step.id, encoded);
    });
    this.encodeMs += encoded - waited;
    this.sendMs += performance.now() - encoded;
  }

  /** Bytes sent since the last reset, frames and all. */
  get bytesSent(): number {
    return this.connection.bytesSent;
  }

  /** Times from sending a step to its receipt, of a sample of steps. */
  get latency(): LatencySummary {
    return this.#latency.summary;
  }

  resetStats(): void {
    this.#latency.reset();
    this.encodeMs = 0;
    this.sendMs = 0;
    this.connection.bytesSent = 0;
  }

  /** Buffers are used again when the socket has taken their bytes; credits bound how many there are. */
  #takeBuffer(bytes: number): Uint8Array {
    const free = this.#freeBuffers.pop();
    return free && free.byteLength >= bytes ? free : new Uint8Array(bytes);
  }
}

/** Receives steps from the previous stage, decoded. */
export class TensorReceiver {
  decodeMs = 0;
  readonly #freeHidden: Float32Array[] = [];
  #unacknowledged = 0;

  /**
   * @param onStep gets hidden states [n, rowSize] f32 (empty when none came), which are its own until it calls
   * `release`; that also lets the sender send another step
   */
  constructor(
    private readonly connection: Connection,
    private readonly codec: Codec,
    private readonly rowSize: number,
    onStep: (step: Step, hidden: Float32Array, release: () => void) => void,
    tracer?: Tracer,
  ) {
    connection.onMessage = (message, payload) => {
      if (message.kind !== 'step') throw new TransportError('garbage', `a ${message.kind} here`);
      if (++this.#unacknowledged > linkWindow)
        throw new TransportError('garbage', 'more steps than were allowed');
      const step = readStep(message.body);
      const received = performance.now();
      if (message.body.receipt) connection.send('credit', { steps: 0, receipt: message.body.id });
      const buffer = payload.byteLength > 0 ? this.#decode(payload, step.tokens.length) : undefined;
      const hidden = buffer?.subarray(0, step.tokens.length * this.rowSize) ?? noHidden;
      tracer?.record('receive', step.id, buffer ? connection.payloadBeganAt : received, received);
      if (buffer) tracer?.record('decode', step.id, received);
      let released = false;
      onStep(step, hidden, () => {
        if (released) return;
        released = true;
        if (buffer) this.#freeHidden.push(buffer);
        this.#release();
      });
    };
  }

  /** Bytes received since the last reset, frames and all. */
  get bytesReceived(): number {
    return this.connection.bytesReceived;
  }

  resetStats(): void {
    this.decodeMs = 0;
    this.connection.bytesReceived = 0;
  }

  #decode(payload: Uint8Array, rows: number): Float32Array {
    const begin = performance.now();
    if (payload.byteLength !== this.codec.encodedBytes(rows, this.rowSize))
      throw new TransportError(
        'garbage',
        `${payload.byteLength} bytes of hidden states for ${rows} tokens`,
      );
    const values = rows * this.rowSize;
    const free = this.#freeHidden.pop();
    const buffer = free && free.length >= values ? free : new Float32Array(values);
    this.codec.decode(payload, rows, this.rowSize, buffer);
    this.decodeMs += performance.now() - begin;
    return buffer;
  }

  #release(): void {
    this.#unacknowledged--;
    this.connection.send('credit', { steps: 1, receipt: 0 });
  }
}

const noHidden = new Float32Array(0);
