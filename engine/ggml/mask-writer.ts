import { setImmediate } from 'node:timers/promises';
import type { Segment } from '../../step/step.js';
import type { Ggml, Pointer } from './bindings.js';

const f16NegativeInfinity = 0xfc00;

/** Values that are written in one turn of the event loop: a prompt's chunk at the end of a long text has many. */
const valuesPerTurn = 1 << 20;

/** Writes which cells rows see: f16 [rows, windowLength], 0 where one sees a cell, -infinity elsewhere. */
export class MaskWriter {
  #values = new Uint16Array(0);

  constructor(private readonly ggml: Ggml) {}

  async write(tensor: Pointer, { visible, tokens }: Pick<Segment, 'visible' | 'tokens'>) {
    const { windowStart, windowLength, counts, ranges } = visible;
    const rows = tokens.length;
    const rowsPerTurn = Math.max(1, Math.floor(valuesPerTurn / windowLength));
    let range = 0;
    for (let first = 0; first < rows; first += rowsPerTurn) {
      if (first > 0) await setImmediate();
      const end = Math.min(rows, first + rowsPerTurn);
      const values = this.#take((end - first) * windowLength).fill(f16NegativeInfinity);
      for (let row = first; row < end; row++) {
        const start = (row - first) * windowLength - windowStart;
        for (let i = counts[row]!; i > 0; i--, range += 2)
          values.fill(0, start + ranges[range]!, start + ranges[range + 1]!);
      }
      const offset = first * windowLength * values.BYTES_PER_ELEMENT;
      this.ggml.tensorSet(tensor, values, offset, values.byteLength);
    }
  }

  #take(length: number): Uint16Array {
    if (this.#values.length < length) this.#values = new Uint16Array(length);
    return this.#values.subarray(0, length);
  }
}
