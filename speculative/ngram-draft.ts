import type { TokenText } from '../step/token-text.js';
import type { DraftSource } from './draft-source.js';

/** The longest run of tokens that is looked for, and the shortest that counts as a match. */
const longestRun = 8;
const shortestRun = 2;

/**
 * Guesses that the text repeats itself: looks for the last place where its final tokens stood before, and proposes what
 * followed there. Needs no model; good for lists, code, quotations and summaries (prompt lookup decoding, A. Saxena
 * 2023).
 */
export class NgramDraft implements DraftSource {
  readonly name = 'n-gram';

  /** @param shortest tokens that must match, for callers that want to be surer */
  constructor(private readonly shortest = shortestRun) {}

  draft({ tokens }: TokenText, count: number): readonly number[] {
    const end = placeOfLongestMatch(tokens, this.shortest);
    return end === undefined ? [] : continuation(tokens, end, count);
  }
}

/** @returns the index after the match; of equally long matches the latest */
function placeOfLongestMatch(text: Int32Array, shortest: number): number | undefined {
  const last = text.length - 1;
  let best: number | undefined;
  let longest = shortest - 1;
  for (let end = last - 1; end >= 0 && longest < longestRun; end--) {
    let run = 0;
    while (run < longestRun && run <= end && text[end - run] === text[last - run]) run++;
    if (run <= longest) continue;
    longest = run;
    best = end + 1;
  }
  return best;
}

/** What followed; a match near the end repeats itself for as long as is wanted. */
function continuation(text: Int32Array, from: number, count: number): number[] {
  const tokens: number[] = [];
  for (let i = from; tokens.length < count; i++)
    tokens.push((i < text.length ? text[i] : tokens[i - text.length]) as number);
  return tokens;
}
