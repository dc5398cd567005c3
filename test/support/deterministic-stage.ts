import type { Batch, Stage } from '../../engine/engine.js';
import type { Shard } from '../../model/shard.js';

export const vocabulary = 97;

/** What a cell holds. */
interface Cell {
  readonly token: number;
  readonly position: number;
}

/**
 * A stage whose result is an exact function of what its cells hold: a step that sees a wrong, missing or stale token
 * anywhere gives another choice.
 */
export class DeterministicStage implements Stage {
  readonly hiddenSize = 1;
  readonly memory = { weights: 0, kv: 0, compute: 0 };
  readonly kvType = 'f16';
  readonly shard: Shard;
  readonly #cells: Cell[] = [];
  #abort: (() => void) | undefined;

  /** @param delay resolves when a step has been computed */
  constructor(
    head: boolean,
    private readonly delay: () => Promise<void>,
  ) {
    this.shard = { firstLayer: 0, endLayer: 1, embedding: !head, head };
  }

  async forward(batch: Batch, hidden: Float32Array, output: Float32Array): Promise<Int32Array> {
    const incoming = hidden.slice();
    const aborted = new Promise<void>((resolve) => (this.#abort = resolve)).then(() => {
      throw new Error('given up');
    });
    aborted.catch(() => undefined);
    await Promise.race([this.delay(), aborted]);
    batch.cells.forEach((cell, i) => {
      this.#cells[cell] = {
        token: batch.tokens[i] as number,
        position: batch.positions[i] as number,
      };
    });
    const rows = this.#rows(batch).map((state, row) => mix(state, incoming[row] ?? 0));
    if (!this.shard.head) output.set(rows);
    return batch.outputs.map((row) => (rows[row] as number) % vocabulary);
  }

  abort(): void {
    this.#abort?.();
  }

  logits(): Promise<Float32Array> {
    return Promise.reject(new Error('no logits'));
  }

  dispose(): void {
    this.#cells.length = 0;
  }

  /** Per token, what it sees. */
  #rows({ visible, visibleCounts }: Batch): number[] {
    let range = 0;
    return Array.from(visibleCounts, (count) => {
      let state = 0;
      for (let i = 0; i < count; i++, range += 2)
        for (let cell = visible[range] as number; cell < (visible[range + 1] as number); cell++) {
          const { token, position } = this.#cells[cell] ?? { token: -1, position: -1 };
          state = mix(mix(state, token), position);
        }
      return state;
    });
  }
}

/** The choice after a text, through two stages. */
export function choiceAfter(text: readonly number[]): number {
  const state = text.reduce((sum, token, position) => mix(mix(sum, token), position), 0);
  return mix(state, mix(state, 0)) % vocabulary;
}

/** Numbers that are exact as f32. */
function mix(state: number, value: number): number {
  let h = Math.imul(state ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(value + 1, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) & 0xff_ffff;
}
