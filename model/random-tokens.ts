/** A text for models that nobody could talk to, always the same: Numerical Recipes' linear congruential generator. */
export function randomTokens(count: number, vocabulary: number): Int32Array {
  let state = 1;
  return Int32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * vocabulary);
  });
}
