import { CoordinatorError } from './errors.js';

/** Attention windows grow in steps of this many cells, so that stages can reuse graphs. */
const windowStep = 256;

/** A contiguous range of KV cells. */
export interface CellRange {
  readonly start: number;
  readonly length: number;
}

/** Which KV cells belong to which conversation; the same on every stage. */
export class CellMap {
  readonly #free: CellRange[];

  /** @param perConversation cells that each conversation gets */
  constructor(
    private readonly perConversation: number,
    readonly conversations: number,
  ) {
    this.#free = Array.from({ length: conversations }, (_, i) => ({
      start: i * perConversation,
      length: perConversation,
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
  allocate(): CellRange {
    const range = this.#free.shift();
    if (!range)
      throw new CoordinatorError(
        'context',
        `all ${this.conversations} conversations are taken: close one, or start with more`,
      );
    return range;
  }

  release(range: CellRange): void {
    this.#free.push(range);
  }
}

/** Length of the window that covers the first `used` cells of a range. */
export function windowLength(range: CellRange, used: number): number {
  return Math.min(Math.ceil(used / windowStep) * windowStep, range.length);
}
