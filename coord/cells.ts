import { CoordinatorError } from './errors.js';

/** Attention windows grow in steps of this many cells, so that stages can reuse graphs. */
const windowStep = 256;

/** A contiguous range of KV cells. */
export interface CellRange {
  readonly start: number;
  readonly length: number;
}

/** What a conversation's text is kept in. */
export interface Place {
  readonly cells: CellRange;
  /** For states, in models whose layers keep those. */
  readonly slots: readonly number[];
}

/** Which KV cells, and slots for states, belong to which conversation; the same on every stage. */
export class CellMap {
  readonly #free: Place[];

  /** @param perConversation cells that each conversation gets @param slotsEach slots, 0 where no state is kept */
  constructor(
    private readonly perConversation: number,
    readonly conversations: number,
    slotsEach = 0,
  ) {
    this.#free = Array.from({ length: conversations }, (_, i) => ({
      cells: { start: i * perConversation, length: perConversation },
      slots: Array.from({ length: slotsEach }, (_, slot) => i * slotsEach + slot),
    }));
  }

  /** The cells of the first conversation. */
  get firstRange(): CellRange {
    return { start: 0, length: this.perConversation };
  }

  /** Cells on every stage. */
  get cells(): number {
    return this.perConversation * this.conversations;
  }

  /** @throws CoordinatorError 'context' when all are taken. */
  allocate(): Place {
    const place = this.#free.shift();
    if (!place)
      throw new CoordinatorError(
        'context',
        `all ${this.conversations} conversations are taken: close one, or start with more`,
      );
    return place;
  }

  release(place: Place): void {
    this.#free.push(place);
  }
}

/** Length of the window that covers the first `used` cells of a range. */
export function windowLength(range: CellRange, used: number): number {
  return Math.min(Math.ceil(used / windowStep) * windowStep, range.length);
}
