import { cancelled } from '../pipeline.js';
import type { Sequence } from '../sequence.js';
import type { Guest } from './admission.js';

/** What a stay asks of the cells that it is in. */
export interface Host {
  /** Whether the text has its cells [0, cells) now. @param isNew whether nothing of the text was begun */
  give(sequence: Sequence, cells: number, isNew: boolean): boolean;
  /** Others may have the text's cells, from its end on. */
  idle(sequence: Sequence): void;
  /** Somebody has to make room for others. */
  dismissed(): void;
  /** Somebody may get what he waits for. */
  changed(): void;
  gone(stay: Stay): void;
}

let lastOrder = 0;

/** The time that an answer takes: its text has cells, unless it has to make room for older ones. */
export class Stay implements Guest, Disposable {
  readonly order = ++lastOrder;
  #place: Guest['place'] = 'outside';
  #isNew = true;
  #isPaused = false;
  #wanted = 0;
  #entered: (() => void) | undefined;
  #leave = new AbortController();
  #signal: AbortSignal;

  /** @param answer aborts when the answer is not wanted any more */
  constructor(
    private readonly sequence: Sequence,
    private readonly answer: AbortSignal,
    private readonly host: Host,
  ) {
    this.#signal = answer;
  }

  get place(): Guest['place'] {
    return this.#place;
  }

  get isWaiting(): boolean {
    return this.#entered !== undefined;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Aborts when whoever computes the text has to stop, and to ask for cells again unless the answer is not wanted. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /** Whether the text has its cells [0, cells), or gets them without waiting. */
  has(cells: number): boolean {
    if (this.#place !== 'inside') return false;
    return cells <= this.sequence.cells.length || this.host.give(this.sequence, cells, false);
  }

  /**
   * Waits until the text has its cells [0, cells), with what is known of it.
   * @throws CoordinatorError 'cancelled' when the answer is not wanted any more
   */
  async enter(cells: number): Promise<void> {
    if (this.#place === 'leaving') this.#left();
    if (this.has(cells)) return;
    if (this.answer.aborted) throw cancelled();
    this.#wanted = cells;
    const entered = new Promise<void>((resolve, reject) => {
      const cancel = () => {
        this.#entered = undefined;
        reject(cancelled());
        this.host.changed();
      };
      this.answer.addEventListener('abort', cancel, { once: true });
      this.#entered = () => {
        this.#entered = undefined;
        this.answer.removeEventListener('abort', cancel);
        resolve();
      };
    });
    this.host.changed();
    return entered;
  }

  /** Nothing of the text is computed until its reader has read on: others may have its cells meanwhile. */
  async pause(until: Promise<void>): Promise<void> {
    this.#isPaused = true;
    this.host.changed();
    await until;
    this.#isPaused = false;
  }

  admit(): boolean {
    if (!this.host.give(this.sequence, this.#wanted, this.#isNew)) return false;
    if (this.#place === 'outside') {
      this.#leave = new AbortController();
      this.#signal = AbortSignal.any([this.answer, this.#leave.signal]);
    }
    this.#isNew = false;
    this.#place = 'inside';
    this.#entered?.();
    return true;
  }

  dismiss(): void {
    this.host.dismissed();
    this.#place = 'leaving';
    this.#leave.abort();
    // Nobody computes the text of one who waits.
    if (this.#isPaused || this.isWaiting) this.#left();
  }

  /** The answer is over. Idempotent. */
  [Symbol.dispose](): void {
    this.host.gone(this);
    this.#left();
  }

  #left(): void {
    if (this.#place === 'outside') return;
    this.#place = 'outside';
    this.host.idle(this.sequence);
    this.host.changed();
  }
}
