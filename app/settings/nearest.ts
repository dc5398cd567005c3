/** The word that is at most two edits away from `word`, and nearest; undefined when none is. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const distances = words.map((candidate) => ({ candidate, distance: edits(word, candidate) }));
  const best = distances.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.min(2, word.length - 1) ? best.candidate : undefined;
}

/** Insertions, deletions and replacements that turn one word into the other (Levenshtein). */
function edits(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
