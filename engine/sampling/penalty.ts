/**
 * The repetition penalty (arXiv 1909.05858): makes tokens that appeared less likely, whichever sign their logit has. In
 * f32, so to the bit what llama.cpp's is without its other penalties.
 * @param logits [vocabulary] f32; changed in place
 * @param recent tokens that appeared; how often does not matter
 */
export function penalise(logits: Float32Array, penalty: number, recent: Iterable<number>): void {
  const factor = Math.fround(penalty);
  for (const token of new Set(recent)) {
    const logit = logits[token];
    if (logit !== undefined) logits[token] = logit > 0 ? logit / factor : logit * factor;
  }
}
