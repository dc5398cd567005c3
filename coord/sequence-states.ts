import { noState, type StateSlots } from '../step/step.js';
import { fewRows } from '../step/tiles.js';
import type { Mark, TokenText } from '../step/token-text.js';

/** Of states behind single tokens, one in so many is kept to go back to. */
const keptInterval = 256;

/** Slots that a text needs: one that is gone on from, one that is written, and two to go back to. */
export const plainSlots = 4;

/** A slot, and what is known of the state in it. */
interface Kept {
  readonly slot: number;
  /** Tokens of the text that it stands for, for as long as the mark is there too. */
  position: number;
  readonly mark: Mark;
  /** Whether the step that writes it has passed all stages. */
  isCertain: boolean;
  /** Whether a text that is to go back finds it. */
  isLasting: boolean;
}

/**
 * The states of one text, in models whose layers keep those instead of cells: every step goes on from one and leaves the
 * next in another slot, so that what was certain stays there when the step turns out to be for nothing. Some of the
 * states are kept for texts that go back. Without slots there is nothing to keep, and a text may go on from anywhere.
 */
export class SequenceStates {
  readonly #kept: readonly Kept[];

  /** @param slots 2 or more that are the text's own, or none */
  constructor(text: TokenText, slots: readonly number[]) {
    this.#kept = slots.map((slot) => ({
      slot,
      position: 0,
      mark: text.mark(),
      isCertain: false,
      isLasting: false,
    }));
  }

  /** The last position up to this one that the text can go on from. */
  before(position: number): number {
    if (this.#kept.length === 0) return position;
    return Math.max(0, ...this.#valid.map((kept) => kept.position).filter((at) => at <= position));
  }

  /**
   * A step over tokens [first, end) is about to be sent.
   * @param first `before` gives it
   * @returns undefined where no state is kept
   */
  take(first: number, end: number): StateSlots | undefined {
    if (this.#kept.length === 0) return undefined;
    const from = first === 0 ? undefined : this.#valid.find(({ position }) => position === first);
    const into = this.#leastUseful(from);
    into.position = into.mark.at = end;
    into.isCertain = false;
    const isOfPrompt = end - first > fewRows;
    into.isLasting =
      isOfPrompt || Math.floor(end / keptInterval) > Math.floor(first / keptInterval);
    return { read: from?.slot ?? noState, write: into.slot };
  }

  /** A step has passed all stages. @param end of its tokens @param slots that it took */
  passed(end: number, slots: StateSlots | undefined): void {
    const kept = this.#kept.find(({ slot }) => slot === slots?.write);
    if (kept?.position === end) kept.isCertain = true;
  }

  /** Steps that have not passed all stages will not: nobody knows what they have written, and where. */
  giveUp(): void {
    for (const kept of this.#kept) if (!kept.isCertain) kept.position = 0;
  }

  /** The stages are others now, whose states are not the text's. */
  forget(): void {
    for (const kept of this.#kept) kept.position = 0;
  }

  get #valid(): Kept[] {
    return this.#kept.filter(({ position, mark }) => position > 0 && mark.at === position);
  }

  /**
   * The slot whose state is missed least: an empty one; one behind a single token; of those to go back to, one that
   * stands close to others, and not the newest. That from which texts go on when guesses are wrong stays longest.
   */
  #leastUseful(from: Kept | undefined): Kept {
    const valid = this.#valid.sort((a, b) => a.position - b.position);
    const newest = valid.findLast(({ isCertain }) => isCertain);
    const lasting = valid.filter(({ isLasting }) => isLasting);
    const worth = (kept: Kept) => {
      if (!valid.includes(kept)) return -1;
      if (kept === newest) return Infinity;
      if (!kept.isLasting) return kept.isCertain ? 0 : Number.MAX_SAFE_INTEGER;
      const index = lasting.indexOf(kept);
      const [before, after] = [lasting[index - 1], lasting[index + 1]];
      return after ? after.position - (before?.position ?? 0) : Number.MAX_SAFE_INTEGER;
    };
    return this.#kept
      .filter((kept) => kept !== from)
      .reduce((a, b) => (worth(b) < worth(a) ? b : a));
  }
}
