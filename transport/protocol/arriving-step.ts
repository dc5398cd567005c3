import { rowsOfStep, type Step } from '../../step/step.js';
import type { Messages } from '../messages/messages.js';
import type { Codec } from '../wire/codecs/codec.js';
import { TransportError } from '../wire/errors.js';
import { frameLimits } from '../wire/frames.js';
import { rowsAt } from '../wire/tensor-channel.js';
import { readStep } from './steps.js';

/** A step whose payload arrives, cut anywhere: what is whole is decoded where it lies, and as soon as it is there. */
export class ArrivingStep {
  readonly #body: Stretch;
  readonly #row: Stretch;
  #step: Step | undefined;
  #hidden: Float32Array | undefined;
  /** Rows of hidden states that are decoded. */
  #rows = 0;

  /** @param takeBuffer gives memory for at least so many values */
  constructor(
    private readonly message: Messages['step'],
    private readonly codec: Codec,
    private readonly rowSize: number,
    private readonly takeBuffer: (values: number) => Float32Array,
  ) {
    this.#body = new Stretch(rowsAt(message.bodyBytes));
    this.#row = new Stretch(codec.encodedBytes(1, rowSize));
  }

  get id(): number {
    return this.message.id;
  }

  /** Takes the next bytes of the payload. @throws TransportError 'garbage' */
  add(payload: Uint8Array): void {
    let rest = payload;
    if (!this.#step) {
      const body = this.#body.add(rest);
      if (!body) return;
      this.#step = readStep(this.message, body.subarray(0, this.message.bodyBytes));
      rest = this.#body.rest;
    }
    while (rest.byteLength > 0) rest = this.#addRows(rest, this.#step);
  }

  /**
   * @returns hidden states [rows, rowSize]; empty when none came
   * @throws TransportError 'garbage' when something is missing
   */
  finish(): { step: Step; hidden: Float32Array } {
    const step = this.#step;
    if (!step || !this.#row.isEmpty || (this.#rows > 0 && this.#rows < rowsOfStep(step)))
      throw new TransportError('garbage', `a step of which a part is missing`);
    return { step, hidden: this.#hidden?.subarray(0, this.#rows * this.rowSize) ?? noHidden };
  }

  /** @returns what was not used */
  #addRows(bytes: Uint8Array, step: Step): Uint8Array {
    const count = this.#row.isEmpty ? Math.floor(bytes.byteLength / this.#row.length) : 0;
    if (count > 0) {
      this.#decode(bytes, count, step);
      return bytes.subarray(count * this.#row.length);
    }
    const row = this.#row.add(bytes);
    if (row) this.#decode(row, 1, step);
    return this.#row.rest;
  }

  #decode(bytes: Uint8Array, count: number, step: Step): void {
    const all = rowsOfStep(step);
    if (this.#rows + count > all || all * this.#row.length > frameLimits.payloadBytes)
      throw new TransportError('garbage', `too many hidden states for ${all} tokens`);
    this.#hidden ??= this.takeBuffer(all * this.rowSize);
    const into = this.#hidden.subarray(this.#rows * this.rowSize);
    this.codec.decode(bytes, count, this.rowSize, into);
    this.#rows += count;
  }
}

const noHidden = new Float32Array(0);

/** So many bytes, which may come in pieces. */
class Stretch {
  /** What came after the last byte of it. */
  rest: Uint8Array = nothing;
  #pieces: Uint8Array | undefined;
  #filled = 0;

  /** @throws TransportError 'garbage' when that is more than any message has */
  constructor(readonly length: number) {
    if (length > frameLimits.payloadBytes)
      throw new TransportError('garbage', `a payload of ${length} bytes`);
  }

  get isEmpty(): boolean {
    return this.#filled === 0;
  }

  /** @returns all of it once it is whole, valid until more is added; it then begins anew */
  add(bytes: Uint8Array): Uint8Array | undefined {
    const piece = bytes.subarray(0, this.length - this.#filled);
    this.rest = bytes.subarray(piece.byteLength);
    if (piece.byteLength === this.length) return piece;
    this.#pieces ??= new Uint8Array(this.length);
    this.#pieces.set(piece, this.#filled);
    this.#filled += piece.byteLength;
    if (this.#filled < this.length) return undefined;
    this.#filled = 0;
    return this.#pieces;
  }
}

const nothing = new Uint8Array(0);
