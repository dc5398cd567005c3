import type { Sampling } from '../step/sampling.js';
import type { TokenText } from '../step/token-text.js';

/** Whatever guesses how a text goes on: a small model, the text itself, a recording. One per sequence. */
export interface DraftSource {
  /** What it is, for reports. */
  readonly name: string;
  /**
   * Guesses the next tokens.
   * @param text the whole text so far, the same object in every call. It goes on while guesses are made: they may be
   * added to it, and it may lose tokens at its end.
   * @param count most tokens wanted, 1 or more
   * @param sampling how the target chooses, so that a draft can choose alike
   * @yields token ids, one after the other; fewer when it knows no more
   * @throws any Error: the answer goes on without drafts
   */
  draft(
    text: TokenText,
    count: number,
    sampling: Sampling,
  ): AsyncIterable<number> | Iterable<number>;
  /** Reads a text before drafts of it are wanted, as far as that helps. @throws any Error, as `draft` */
  prepare?(text: TokenText): Promise<void>;
}
