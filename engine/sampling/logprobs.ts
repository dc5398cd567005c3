import type { TokenLogprobs } from '../../step/step.js';

/**
 * Log-probabilities of the chosen token and of the likeliest ones.
 * @param logits [vocabulary] f32, as the model gives them
 * @param top how many of the likeliest; of equally likely tokens the smaller id comes first
 */
export function logprobsOf(logits: Float32Array, chosen: number, top: number): TokenLogprobs {
  const topTokens = likeliestTokens(logits, top);
  const shift = logSumExp(logits);
  return {
    chosen: logits[chosen]! - shift,
    topTokens,
    top: Float32Array.from(topTokens, (token) => logits[token]! - shift),
  };
}

/** The logarithm of the sum of exponentials, without overflow. */
function logSumExp(logits: Float32Array): number {
  let max = -Infinity;
  for (let token = 0; token < logits.length; token++)
    if (logits[token]! > max) max = logits[token]!;
  let sum = 0;
  for (let token = 0; token < logits.length; token++) sum += Math.exp(logits[token]! - max);
  return max + Math.log(sum);
}

/** Few are asked for, so each takes its place among those found so far. */
function likeliestTokens(logits: Float32Array, count: number): Int32Array {
  const found = new Int32Array(Math.min(count, logits.length));
  let size = 0;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token]!;
    if (size === found.length && !(size > 0 && logit > logits[found[size - 1]!]!)) continue;
    if (size < found.length) size++;
    let place = size - 1;
    for (; place > 0 && logit > logits[found[place - 1]!]!; place--)
      found[place] = found[place - 1]!;
    found[place] = token;
  }
  return found;
}
