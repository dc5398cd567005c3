import type { Sequence } from '../sequence.js';
import type { Stay } from './stay.js';

export interface StayOptions {
  /** Aborts when the answer is not wanted any more. */
  readonly answer: AbortSignal;
  /** Whether the text begins with nothing that is known of others; default false. */
  readonly isAlone?: boolean;
}

/** Where the keys and values of texts are: gives every text its cells, the same on every stage. */
export interface TextCells {
  /** Tokens that one text may have. */
  readonly mostTokens: number;
  /** A sequence without a text. @throws CoordinatorError 'context' when there can be no more */
  open(): Sequence;
  /** The text of a sequence that nobody computes is empty from now on. */
  clear(sequence: Sequence): void;
  /**
   * A new prompt becomes the text of a sequence that nobody computes.
   * @returns what the answer is computed in; dispose of it when that is over
   */
  begin(sequence: Sequence, prompt: Int32Array, options: StayOptions): Stay;
  /** The sequence is not gone on with. */
  close(sequence: Sequence): void;
  /** The stages are others now, which have nothing in their cells. */
  forget(): void;
  readonly stats: CellStats;
  resetStats(): void;
}

/** What cells were used for, since the last reset where it is a count. */
export interface CellStats {
  /** Cells on every stage. */
  readonly cells: number;
  /** Of those, what texts have that are being answered, and how many tokens these have. */
  readonly reserved: number;
  readonly used: number;
  /** Cells of other texts, which others may begin with. */
  readonly remembered: number;
  /** Prompts, and those of them that began with what was known. */
  readonly prompts: number;
  readonly hits: number;
  /** Tokens of prompts that were there, and that had to be computed. */
  readonly reusedTokens: number;
  readonly computedTokens: number;
  /** Answers that had to make room for older ones. */
  readonly preemptions: number;
  /** Pages that were copied. */
  readonly copiedPages: number;
}
