import { createHash } from 'node:crypto';
import { pageCells } from '../../step/pages.js';
import type { Stretch } from '../stretch.js';

/**
 * Names of the pages that a text fills, each of which depends on all before it: pages of one name hold the same bits.
 * @param root hex of SHA-256 of all that bits depend on besides texts
 * @param stretches how the tokens are, or will be, computed: all of them
 * @param pages full ones, from the first on
 * @returns 64 hex digits each
 */
export function pageKeys(
  root: string,
  tokens: Int32Array,
  stretches: readonly Stretch[],
  pages: number,
): string[] {
  const keys: string[] = [];
  for (let page = 0; page < pages; page++) {
    const [first, end] = [page * pageCells, (page + 1) * pageCells];
    const prompts = stretches.filter(
      (stretch) => stretch.isPrompt && stretch.first < end && stretch.end > first,
    );
    const borders = prompts.flatMap((prompt) => [prompt.first, Math.min(prompt.end, end)]);
    const hash = createHash('sha256').update(keys.at(-1) ?? root);
    keys.push(
      hash.update(tokens.subarray(first, end)).update(Int32Array.from(borders)).digest('hex'),
    );
  }
  return keys;
}
