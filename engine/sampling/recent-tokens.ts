import type { Segment } from '../../step/step.js';

/** How many tokens back the repetition penalty looks. */
export const penaltyReach = 64;

const none = new Int32Array(0);

/**
 * The tokens that the repetition penalty looks at for a row: as many wherever the segment begins, so that a text does
 * not depend on how it was cut into steps.
 * @param row within the segment
 */
export function recentTokens(segment: Segment, row: number): Int32Array {
  const { tokens, recentTokens: before, sampling } = segment;
  if (sampling.repetitionPenalty === 1) return none;
  const here = Math.min(penaltyReach, row + 1);
  const earlier = Math.min(penaltyReach - here, before.length);
  const recent = new Int32Array(earlier + here);
  recent.set(before.subarray(before.length - earlier));
  recent.set(tokens.subarray(row + 1 - here, row + 1), earlier);
  return recent;
}
