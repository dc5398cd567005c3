import { pageCells } from '../../step/pages.js';
import { fewRows, tileRows } from '../../step/tiles.js';
import { commonPrefix } from '../../step/token-text.js';
import type { Sequence } from '../sequence.js';
import { lengthOf, type Stretch } from '../stretch.js';

/** A text whose keys and values are there. */
export interface KnownText {
  /** All tokens, or more than are computed. */
  readonly tokens: Int32Array;
  /** Of the computed tokens, from the first one on, how they were. */
  readonly stretches: readonly Stretch[];
}

/**
 * How much of what is known of one text can be taken for another, such that it comes out as if it were computed. What kernels
 * make of a row depends on three things:
 *
 * - Rows in steps of at most `fewRows` have bits of their own, whatever is computed beside them: decoded tokens can be cut
 *   anywhere.
 * - Of a prompt, whole tiles of 64 positions go through kernels for many rows. A cut at a tile gives the same bits if both
 *   sides have a tile's rows at least: so a prompt's beginning is taken up to a tile, and 64 rows or more are left.
 * - The rest behind a prompt's last tile goes with it only as a whole, and where both prompts end alike.
 *
 * @param planned how the other text is to be computed, all of it
 * @returns the stretches that are there
 */
export function reusableOf(
  known: KnownText,
  tokens: Int32Array,
  planned: readonly Stretch[],
): readonly Stretch[] {
  const same = commonPrefix(known.tokens, tokens);
  const taken: Stretch[] = [];
  for (const [i, plan] of planned.entries()) {
    const stretch = known.stretches[i];
    if (stretch?.first !== plan.first || stretch.isPrompt !== plan.isPrompt) break;
    const { first, isPrompt } = plan;
    const isLast = plan.end === tokens.length;
    // Behind the last token of a prompt one is wanted, which that step alone gives.
    const isWhole = stretch.end === plan.end && plan.end <= same && !(isPrompt && isLast);
    if (isWhole) {
      taken.push(plan);
      continue;
    }
    const most = Math.min(same, stretch.end, plan.end);
    const end = isPrompt ? tileBefore(Math.min(most, plan.end - tileRows)) : most;
    if (end - first >= (isPrompt ? tileRows : 1)) taken.push({ first, end, isPrompt });
    break;
  }
  return taken;
}

/**
 * The same for a new prompt. It is read as one, unless it contains an answer, or whole pages of one: then what is known up
 * to there is taken as it is, as when a conversation goes on.
 */
export function reusableForPrompt(known: KnownText, prompt: Int32Array): readonly Stretch[] {
  const same = commonPrefix(known.tokens, prompt);
  const before = upToAnswer(known.stretches, same);
  const first = lengthOf(before);
  const isPrompt = prompt.length - first > fewRows;
  const rest = first < prompt.length ? [{ first, end: prompt.length, isPrompt }] : [];
  return reusableOf(known, prompt, [...before, ...rest]);
}

/**
 * How the beginning of a prompt is to be computed that goes on from a conversation's text: its answers stay answers, even where
 * others have their cells by now. Where it contains none, it is a prompt like any other.
 * @param before the conversation's text
 */
export function plannedForPrompt(before: Sequence, prompt: Int32Array): readonly Stretch[] {
  const { text, knownStretches, hasAnswer } = before;
  const tokens = text.tokens.subarray(0, text.certain);
  if (hasAnswer && commonPrefix(tokens, prompt) === tokens.length) return knownStretches;
  const stretches = reusableForPrompt({ tokens, stretches: knownStretches }, prompt);
  return stretches.some(({ isPrompt }) => !isPrompt) ? stretches : [];
}

/** What is known up to the end of the last answer, or of the last page of one, among the first tokens. */
function upToAnswer(stretches: readonly Stretch[], tokens: number): readonly Stretch[] {
  const endIn = ({ end }: Stretch) => (end <= tokens ? end : pageBefore(tokens));
  const last = stretches.findLastIndex(
    (stretch) => !stretch.isPrompt && endIn(stretch) > stretch.first,
  );
  return stretches
    .slice(0, last + 1)
    .map((stretch, i) => (i === last ? { ...stretch, end: endIn(stretch) } : stretch));
}

function tileBefore(position: number): number {
  return Math.floor(position / tileRows) * tileRows;
}

function pageBefore(position: number): number {
  return Math.floor(position / pageCells) * pageCells;
}
