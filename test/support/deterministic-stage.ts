import {
  EngineError,
  type Stage,
  type StageMemory,
  type StagePages,
  type StepInSlices,
} from '../../engine/engine.js';
import { pageCells } from '../../step/pages.js';
import type { Shard } from '../../step/shard.js';
import {
  noState,
  wantedRows,
  type Segment,
  type SegmentResult,
  type StateSlots,
  type Step,
} from '../../step/step.js';

export const vocabulary = 97;

/** Of a long step. */
const slices = 3;

/** That a stage's cells may have. */
const mostPages = 1000;

/** What a cell holds. */
interface Cell {
  readonly token: number;
  readonly position: number;
}

/**
 * A stage whose result is an exact function of what its cells hold, or its states where segments name them: a step that sees a wrong, missing or stale token
 * anywhere gives another choice.
 */
export class DeterministicStage implements Stage {
  readonly pages: StagePages = {
    bytes: 2 * 4 * pageCells,
    read: (page) => this.#readPage(page),
    write: (page, content) => this.#writePage(page, content),
  };
  readonly hiddenSize: number;
  readonly memory: StageMemory = { weights: 0, kv: 0, compute: 0 };
  readonly kvType = 'f16';
  readonly shard: Shard;
  readonly #cells: (Cell | undefined)[] = [];
  /** By slot, what stands for all tokens so far. */
  readonly #states: number[] = [];
  #abort: (() => void) | undefined;

  /** @param delay resolves when a step has been computed */
  constructor(
    head: boolean,
    private readonly delay: () => Promise<void>,
    options: { readonly hiddenSize?: number; readonly shard?: Shard } = {},
  ) {
    this.shard = options.shard ?? { firstLayer: 0, endLayer: 1, embedding: !head, head };
    this.hiddenSize = options.hiddenSize ?? 1;
  }

  async forward(
    step: Step,
    hidden: Float32Array,
    output: Float32Array,
  ): Promise<readonly SegmentResult[]> {
    const incoming = hidden.slice();
    await this.#wait();
    for (const { from, to, count } of step.copies ?? [])
      for (let i = 0; i < count * pageCells; i++)
        this.#cells[to * pageCells + i] = this.#cells[from * pageCells + i];
    const states = step.segments.flatMap((segment) => this.#compute(segment));
    const rows = states.map((state, row) => mix(state, incoming[row * this.hiddenSize] ?? 0));
    if (this.shard.head) return results(step, rows);
    rows.forEach((value, row) => {
      output.fill(value, row * this.hiddenSize, (row + 1) * this.hiddenSize);
    });
    return [];
  }

  /** Nothing is looked at, or written, before the last slice. */
  begin(step: Step, hidden: Float32Array, output: Float32Array): StepInSlices {
    let left = slices;
    return {
      compute: async () => {
        if (--left === 0) return this.forward(step, hidden, output);
        await this.#wait();
        return undefined;
      },
    };
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

  async #wait(): Promise<void> {
    const aborted = new Promise<void>((resolve) => (this.#abort = resolve)).then(() => {
      throw new Error('given up');
    });
    aborted.catch(() => undefined);
    await Promise.race([this.delay(), aborted]);
  }

  /** Tokens and positions; -1 where nothing is. */
  #readPage(page: number): Promise<Uint8Array> {
    const values = new Int32Array(2 * pageCells).fill(-1);
    for (let i = 0; i < pageCells; i++) {
      const cell = this.#cells[page * pageCells + i];
      if (cell) values.set([cell.token, cell.position], 2 * i);
    }
    return Promise.resolve(new Uint8Array(values.buffer));
  }

  #writePage(page: number, content: Uint8Array): Promise<void> {
    if (page >= mostPages)
      return Promise.reject(new EngineError('step', `there is no page ${page}`));
    const values = new Int32Array(Uint8Array.from(content).buffer);
    for (let i = 0; i < pageCells; i++) {
      const [token, position] = values.subarray(2 * i) as unknown as [number, number];
      this.#cells[page * pageCells + i] = { token, position };
    }
    return Promise.resolve();
  }

  #compute(segment: Segment): number[] {
    return segment.state ? this.#goOn(segment, segment.state) : this.#look(segment);
  }

  /** Per row, what the state before it and its token make. */
  #goOn({ tokens, positions }: Segment, { read, write }: StateSlots): number[] {
    let state = read === noState ? 0 : (this.#states[read] ?? -1);
    const states = Array.from(tokens, (token, row) => {
      state = mix(mix(state, token), positions[row] as number);
      return state;
    });
    this.#states[write] = state;
    return states;
  }

  /** Per row, what it sees. */
  #look({ tokens, positions, cells, visible }: Segment): number[] {
    cells.forEach((cell, i) => {
      this.#cells[cell] = { token: tokens[i] as number, position: positions[i] as number };
    });
    let range = 0;
    return Array.from(visible.counts, (count) => {
      let state = 0;
      for (let i = 0; i < count; i++, range += 2)
        for (
          let cell = visible.ranges[range] as number;
          cell < (visible.ranges[range + 1] as number);
          cell++
        ) {
          const { token, position } = this.#cells[cell] ?? { token: -1, position: -1 };
          state = mix(mix(state, token), position);
        }
      return state;
    });
  }
}

function results(step: Step, rows: readonly number[]): SegmentResult[] {
  let first = 0;
  return step.segments.map((segment) => {
    const choices = wantedRows(segment).map((row) => (rows[first + row] as number) % vocabulary);
    first += segment.tokens.length;
    return { sequence: segment.sequence, choices };
  });
}

/** The choice after a text, through so many stages. */
export function choiceAfter(text: readonly number[], stages = 2): number {
  const state = text.reduce((sum, token, position) => mix(mix(sum, token), position), 0);
  let hidden = 0;
  for (let stage = 0; stage < stages; stage++) hidden = mix(state, hidden);
  return hidden % vocabulary;
}

/** Numbers that are exact as f32. */
function mix(state: number, value: number): number {
  let h = Math.imul(state ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(value + 1, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) & 0xff_ffff;
}
