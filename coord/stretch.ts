/** Tokens [first, end) of a text that are to be computed in one way. */
export interface Stretch {
  readonly first: number;
  readonly end: number;
  /** Read as a prompt, in large steps; or decoded, in steps of at most `fewRows`. */
  readonly isPrompt: boolean;
}

/** A part of a text that was read as a prompt. */
export type Prompt = Omit<Stretch, 'isPrompt'>;

/** Those that begin before `end`, up to there. */
export function partsBefore<Part extends Prompt>(parts: readonly Part[], end: number): Part[] {
  return parts
    .filter(({ first }) => first < end)
    .map((part) => ({ ...part, end: Math.min(part.end, end) }));
}

/** Where the last of some parts ends. */
export function lengthOf(parts: readonly Prompt[]): number {
  return parts.at(-1)?.end ?? 0;
}

/** Tokens [first, end), of which some are read as prompts. */
export function stretchesOf(prompts: readonly Prompt[], first: number, end: number): Stretch[] {
  const stretches: Stretch[] = [];
  let at = first;
  const add = (to: number, isPrompt: boolean) => {
    if (to > at) stretches.push({ first: at, end: to, isPrompt });
    at = Math.max(at, to);
  };
  for (const prompt of prompts) {
    add(Math.min(prompt.first, end), false);
    add(Math.min(prompt.end, end), true);
  }
  add(end, false);
  return stretches;
}
