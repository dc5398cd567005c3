import type { TokenLogprobs } from '../../step/step.js';
import { LogitBlocks } from './logit-blocks.js';

/**
 * Log-probabilities of the chosen token and of the likeliest ones.
 * @param logits [vocabulary] f32, as the model gives them
 * @param top how many of the likeliest; of equally likely tokens the smaller id comes first
 */
export function logprobsOf(logits: Float32Array, chosen: number, top: number): TokenLogprobs {
  const blocks = new LogitBlocks(logits);
  const topTokens = likeliestTokens(blocks, top);
  const shift = blocks.max + Math.log(blocks.mass().most);
  return {
    chosen: logits[chosen]! - shift,
    topTokens,
    top: Float32Array.from(topTokens, (token) => logits[token]! - shift),
  };
}

function likeliestTokens(blocks: LogitBlocks, count: number): Int32Array {
  if (count === 0) return new Int32Array(0);
  const { logits } = blocks;
  const reaching = blocks.atLeast(blocks.reachedBy(count));
  reaching.sort((a, b) => logits[b]! - logits[a]! || a - b);
  return reaching.slice(0, count);
}
