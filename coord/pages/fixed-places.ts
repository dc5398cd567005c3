import { equalPlaces, type Place } from '../cells.js';
import { CoordinatorError } from '../errors.js';
import { Sequence } from '../sequence.js';
import { CellCounter } from './cell-counter.js';
import { Stay, type Host } from './stay.js';
import type { CellStats, StayOptions, TextCells } from './text-cells.js';

export interface FixedPlacesOptions {
  /** Tokens that a text may have. */
  readonly context: number;
  /** Cells of each conversation. */
  readonly cellsEach: number;
  readonly conversations: number;
  /** Slots for states of each, 0 where no state is kept. */
  readonly slotsEach?: number;
  /** Tokens that a text can lose without being computed anew; default: all. */
  readonly rewind?: number;
}

/**
 * Equal places, one for each conversation while it is open: for models whose layers keep something else of a text than
 * cells that could be moved and cut, such as rings and states.
 */
export class FixedPlaces implements TextCells, Host {
  readonly #free: Place[];
  readonly #taken = new Map<Sequence, Place>();
  readonly #waiting = new Set<Stay>();
  readonly #counter = new CellCounter();

  constructor(private readonly options: FixedPlacesOptions) {
    const { cellsEach, conversations, slotsEach = 0 } = options;
    this.#free = equalPlaces(conversations, cellsEach, slotsEach);
  }

  get mostTokens(): number {
    return this.options.context;
  }

  get stats(): CellStats {
    const { cellsEach, conversations } = this.options;
    const used = [...this.#taken.keys()].reduce((sum, { text }) => sum + text.certain, 0);
    return {
      cells: cellsEach * conversations,
      reserved: cellsEach * this.#taken.size,
      used,
      remembered: 0,
      ...this.#counter.counts,
    };
  }

  resetStats(): void {
    this.#counter.reset();
  }

  open(): Sequence {
    const place = this.#free.shift();
    if (!place)
      throw new CoordinatorError(
        'context',
        `all ${this.options.conversations} conversations are taken: close one, or start with more`,
      );
    const { rewind } = this.options;
    const sequence = new Sequence(place.cells, { slots: place.slots, rewind });
    this.#taken.set(sequence, place);
    return sequence;
  }

  clear(sequence: Sequence): void {
    sequence.text.truncate(0);
  }

  begin(sequence: Sequence, prompt: Int32Array, { answer }: StayOptions): Stay {
    sequence.text.replace(prompt);
    const stay = new Stay(sequence, answer, this);
    this.#waiting.add(stay);
    return stay;
  }

  close(sequence: Sequence): void {
    const place = this.#taken.get(sequence);
    if (place) this.#free.push(place);
    this.#taken.delete(sequence);
  }

  give(sequence: Sequence, cells: number, isNew: boolean): boolean {
    const { certain } = sequence.text;
    if (isNew) this.#counter.begun(sequence.firstMissing(certain), certain);
    return cells <= this.options.cellsEach;
  }

  changed(): void {
    for (const stay of this.#waiting) if (stay.isWaiting) stay.admit();
  }

  gone(stay: Stay): void {
    this.#waiting.delete(stay);
  }

  /** Sequences that go to another route forget by themselves what was in their cells. */
  forget(): void {}

  idle(): void {}

  dismissed(): void {}
}
