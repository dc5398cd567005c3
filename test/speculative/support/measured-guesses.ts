import type { Confidence } from './guess-tree.js';

/** How often a draft's first, second and third guess are right. */
export interface Guesses {
  readonly name: string;
  readonly confidences: readonly Confidence[];
}

/**
 * What measure-guesses.ts measured of the demo model's draft: fifths of all places by the margin between its first two
 * guesses, the least sure first. At higher temperatures, where target and draft share their noise, fewer are right; the
 * second is right after 55 % of the wrong first ones in greedy texts, and after 30 to 36 % in the others.
 */
export const measuredGuesses: readonly Guesses[] = [
  fifths('temperature 1.85', [
    [0.33, 0.22, 0.08],
    [0.46, 0.16, 0.07],
    [0.58, 0.11, 0.06],
    [0.76, 0.07, 0.04],
    [0.93, 0.03, 0.01],
  ]),
  fifths('temperature 1.7', [
    [0.42, 0.18, 0.07],
    [0.57, 0.14, 0.04],
    [0.78, 0.06, 0.04],
    [0.9, 0.02, 0.01],
    [0.98, 0, 0],
  ]),
  fifths('temperature 1.5', [
    [0.58, 0.17, 0.06],
    [0.75, 0.08, 0.03],
    [0.94, 0.02, 0.01],
    [0.99, 0, 0],
    [1, 0, 0],
  ]),
  fifths('greedy', [
    [0.57, 0.24, 0.04],
    [1, 0, 0],
    [1, 0, 0],
    [1, 0, 0],
    [1, 0, 0],
  ]),
];

/** An oracle: its first guess is right with probability `acceptance`; if not, its second with probability `second`. */
export function oracleGuesses(acceptance: number, second: number): Guesses {
  const secondRight = (1 - acceptance) * second;
  const thirdRight = (1 - acceptance - secondRight) * second * 0.6;
  return {
    name: `oracle, second ${second}`,
    confidences: [{ weight: 1, right: [acceptance, secondRight, thirdRight] }],
  };
}

/** Probability that a first guess is right. */
export function acceptanceOf({ confidences }: Guesses): number {
  const total = confidences.reduce((sum, { weight }) => sum + weight, 0);
  return confidences.reduce((sum, { weight, right }) => sum + weight * (right[0] ?? 0), 0) / total;
}

function fifths(name: string, rights: readonly (readonly number[])[]): Guesses {
  return { name, confidences: rights.map((right) => ({ weight: 1, right })) };
}
