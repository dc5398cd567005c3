import { setImmediate } from 'node:timers/promises';
import type { Visible } from '../../../step/step.js';
import type { Ggml } from '../bindings.js';
import type { MaskedPiece } from './attention.js';

export const f16NegativeInfinity = 0xfc00;

/** Values that are written in one turn of the event loop: a prompt's chunk at the end of a long text has many. */
const valuesPerTurn = 1 << 20;

/** Writes the masks of pieces. */
export class MaskWriter {
  #values = new Uint16Array(0);

  constructor(private readonly ggml: Ggml) {}

  /** @param pieces of a segment, in the order of its rows */
  async write(pieces: readonly MaskedPiece[], { counts, ranges }: Visible): Promise<void> {
    let [row, range] = [0, 0];
    for (const { mask, rows, windowStart, windowLength, maskCopies } of pieces) {
      const rowLength = windowLength * maskCopies;
      const rowsPerTurn = Math.max(1, Math.floor(valuesPerTurn / rowLength));
      for (let first = 0; first < rows; first += rowsPerTurn) {
        if (first > 0) await setImmediate();
        const count = Math.min(rowsPerTurn, rows - first);
        const values = this.#take(count * rowLength).fill(f16NegativeInfinity);
        for (let i = 0; i < count; i++, row++) {
          const start = i * rowLength;
          for (let left = counts[row]!; left > 0; left--, range += 2) {
            const from = ranges[range]! - windowStart;
            const to = ranges[range + 1]! - windowStart;
            values.fill(0, start + from, start + to);
          }
          for (let copy = 1; copy < maskCopies; copy++)
            values.copyWithin(start + copy * windowLength, start, start + windowLength);
        }
        const offset = first * rowLength * values.BYTES_PER_ELEMENT;
        this.ggml.tensorSet(mask, values, offset, values.byteLength);
      }
    }
  }

  #take(length: number): Uint16Array {
    if (this.#values.length < length) this.#values = new Uint16Array(length);
    return this.#values.subarray(0, length);
  }
}
