import { setImmediate } from 'node:timers/promises';
import type { Visible } from '../../../step/step.js';
import type { Ggml } from '../bindings.js';
import type { MaskedPiece } from './attention.js';
import { lastCells, type CellPlaces } from './cell-places.js';

export const f16NegativeInfinity = 0xfc00;

/** Values that are written in one turn of the event loop: a prompt's chunk at the end of a long text has many. */
const valuesPerTurn = 1 << 20;

/** Writes the masks of pieces. */
export class MaskWriter {
  #values = new Uint16Array(0);

  constructor(private readonly ggml: Ggml) {}

  /**
   * @param pieces of a segment, in the order of its rows
   * @param places where the cells are
   */
  async write(
    pieces: readonly MaskedPiece[],
    { counts, ranges }: Visible,
    places: CellPlaces,
  ): Promise<void> {
    let [row, range] = [0, 0];
    for (const { mask, rows, windowStart, windowLength } of pieces) {
      const rowsPerTurn = Math.max(1, Math.floor(valuesPerTurn / windowLength));
      for (let first = 0; first < rows; first += rowsPerTurn) {
        if (first > 0) await setImmediate();
        const count = Math.min(rowsPerTurn, rows - first);
        const values = this.#take(count * windowLength).fill(f16NegativeInfinity);
        for (let i = 0; i < count; i++, row++) {
          const start = i * windowLength - windowStart;
          const end = range + 2 * counts[row]!;
          for (const [from, to] of lastCells(ranges, range, end, places.window))
            for (const [first, last] of places.runs(from, to))
              values.fill(0, start + first, start + last);
          range = end;
        }
        const offset = first * windowLength * values.BYTES_PER_ELEMENT;
        this.ggml.tensorSet(mask, values, offset, values.byteLength);
      }
    }
  }

  #take(length: number): Uint16Array {
    if (this.#values.length < length) this.#values = new Uint16Array(length);
    return this.#values.subarray(0, length);
  }
}
