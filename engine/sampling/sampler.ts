import type { Sampling } from '../../step/sampling.js';
import { filterCandidates, isFiltered } from './candidates.js';
import { gumbelOfBits, maxGumbelNoise, mayExceed, noiseBits, noisePrefix } from './noise.js';

/** Whether the likeliest token is always chosen, so that logits need not leave the graph. */
export function isGreedy(sampling: Sampling): boolean {
  return sampling.temperature <= 0 && sampling.repetitionPenalty === 1;
}

/**
 * Chooses the next token.
 * @param logits [vocabulary] f32; changed in place by the repetition penalty
 * @param position position of the last token that the logits follow: the noise's position
 * @param recent tokens that the repetition penalty applies to
 */
export function chooseToken(
  logits: Float32Array,
  sampling: Sampling,
  position: number,
  recent: Iterable<number>,
): number {
  if (sampling.repetitionPenalty !== 1) penalise(logits, sampling.repetitionPenalty, recent);
  if (sampling.temperature <= 0) return likeliest(logits);
  const prefix = noisePrefix(sampling.seed, position);
  if (!isFiltered(sampling)) return noisiest(undefined, logits, sampling.temperature, prefix);
  const candidates = filterCandidates(logits, sampling);
  return noisiest(candidates.tokens, candidates.logits, 1, prefix);
}

/** The token with the largest logit / temperature + noise. @param tokens ids of the logits; without it their indices */
function noisiest(
  tokens: Int32Array | undefined,
  logits: Float32Array | Float64Array,
  temperature: number,
  prefix: number,
): number {
  let chosen = 0;
  let best = -Infinity;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i]! / temperature;
    if (logit + maxGumbelNoise < best) continue;
    const token = tokens ? tokens[i]! : i;
    const bits = noiseBits(prefix, token);
    if (!mayExceed(bits, best - logit)) continue;
    const score = logit + gumbelOfBits(bits);
    if (score > best || (score === best && token < chosen)) {
      best = score;
      chosen = token;
    }
  }
  return chosen;
}

/** arXiv 1909.05858: makes tokens that appeared less likely, whichever sign their logit has. */
function penalise(logits: Float32Array, penalty: number, recent: Iterable<number>): void {
  for (const token of new Set(recent)) {
    const logit = logits[token];
    if (logit !== undefined) logits[token] = logit > 0 ? logit / penalty : logit * penalty;
  }
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++)
    if ((logits[i] as number) > (logits[best] as number)) best = i;
  return best;
}
