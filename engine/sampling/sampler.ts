import type { Sampling } from '../../step/sampling.js';
import { filterCandidates, isFiltered } from './candidates.js';
import { LogitBlocks } from './logit-blocks.js';
import {
  gumbelNoise,
  gumbelOfBits,
  maxGumbelNoise,
  mayExceed,
  noiseBits,
  noisePrefix,
} from './noise.js';
import { penalise } from './penalty.js';

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
  const blocks = new LogitBlocks(logits);
  if (sampling.temperature <= 0) return blocks.likeliest();
  const tokens = isFiltered(sampling)
    ? filterCandidates(blocks, sampling)
    : possibleTokens(blocks, sampling, position);
  return noisiest(logits, tokens, sampling, position);
}

/** The tokens that the largest noise could make the choice. */
function possibleTokens(
  blocks: LogitBlocks,
  { temperature, seed }: Sampling,
  position: number,
): Int32Array {
  const lead = maxGumbelNoise - gumbelNoise(seed, position, blocks.likeliest());
  // A little more, for what sums are rounded by.
  return blocks.atLeast(blocks.max - temperature * lead - 1e-6 * (1 + Math.abs(blocks.max)));
}

/** The token with the largest logit / temperature + noise; of several the smallest. */
function noisiest(
  logits: Float32Array,
  tokens: Int32Array,
  { temperature, seed }: Sampling,
  position: number,
): number {
  const prefix = noisePrefix(seed, position);
  let chosen = 0;
  let best = -Infinity;
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    const scaled = logits[token]! / temperature;
    if (scaled + maxGumbelNoise < best) continue;
    const bits = noiseBits(prefix, token);
    if (!mayExceed(bits, best - scaled)) continue;
    const score = scaled + gumbelOfBits(bits);
    if (score > best || (score === best && token < chosen)) {
      best = score;
      chosen = token;
    }
  }
  return chosen;
}
