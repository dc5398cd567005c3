import type { Sampling } from '../engine/engine.js';

/** Whatever guesses how a text goes on: a small model, the text itself, a recording. One per conversation. */
export interface DraftSource {
  /** What it is, for reports. */
  readonly name: string;
  /**
   * Guesses the next tokens.
   * @param text the whole text so far; since the last call it may have grown, and lost tokens at its end. It is only
   * read before the first guess is given.
   * @param count most tokens wanted, 1 or more
   * @param sampling how the target chooses, so that a draft can choose alike
   * @yields token ids, one after the other; fewer when it knows no more
   * @throws any Error: the answer goes on without drafts
   */
  draft(
    text: readonly number[],
    count: number,
    sampling: Sampling,
  ): AsyncIterable<number> | Iterable<number>;
  /** Reads a text before drafts of it are wanted, as far as that helps. @throws any Error, as `draft` */
  prepare?(text: readonly number[]): Promise<void>;
}
