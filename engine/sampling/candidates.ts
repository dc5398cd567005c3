import type { Sampling } from '../engine.js';

/** Tokens further below the likeliest than this (after temperature) have a probability below 1e-13: never candidates. */
const negligible = 30;

/** Tokens that may be chosen, in no particular order, with their logits after temperature. */
export interface Candidates {
  readonly tokens: Int32Array;
  readonly logits: Float64Array;
}

/**
 * The tokens that the filters leave: temperature, then top-k, then top-p, then min-p, each on what the one before
 * left. Of equally likely tokens the smaller id stays.
 * @param logits [vocabulary] f32
 */
export function filterCandidates(logits: Float32Array, sampling: Sampling): Candidates {
  const { temperature, topK, topP, minP } = sampling;
  let max = -Infinity;
  for (const logit of logits) if (logit > max) max = logit;

  // min-p only ever drops the least likely, so its bound can be used first, unless top-p has to see their mass.
  const minPBound = minP > 0 ? -Math.log(minP) : Infinity;
  const reach = topP < 1 ? negligible : Math.min(negligible, minPBound);
  let kept = collect(logits, max, temperature, reach);
  if (topK > 0 && kept.tokens.length > topK) kept = take(kept, sortedOrder(kept), topK);
  if (topP < 1) kept = keepMass(kept, max / temperature, topP);
  if (topP < 1 && minP > 0) kept = keepAbove(kept, max / temperature - minPBound);
  return kept;
}

function collect(
  logits: Float32Array,
  max: number,
  temperature: number,
  reach: number,
): Candidates {
  const floor = max - reach * temperature;
  let count = 0;
  for (const logit of logits) if (logit >= floor) count++;
  const kept = { tokens: new Int32Array(count), logits: new Float64Array(count) };
  for (let token = 0, i = 0; i < count; token++) {
    const logit = logits[token] as number;
    if (logit < floor || Number.isNaN(logit)) continue;
    kept.tokens[i] = token;
    kept.logits[i++] = logit / temperature;
  }
  return kept;
}

/** Indices of candidates from the likeliest to the least likely. */
function sortedOrder({ tokens, logits }: Candidates): Uint32Array {
  const order = new Uint32Array(tokens.length).map((_, i) => i);
  return order.sort(
    (a, b) =>
      (logits[b] as number) - (logits[a] as number) ||
      (tokens[a] as number) - (tokens[b] as number),
  );
}

function take({ tokens, logits }: Candidates, order: Uint32Array, count: number): Candidates {
  const first = order.subarray(0, count);
  return {
    tokens: Int32Array.from(first, (i) => tokens[i] as number),
    logits: Float64Array.from(first, (i) => logits[i] as number),
  };
}

/** The fewest likeliest tokens whose probabilities add up to `share`. */
function keepMass(candidates: Candidates, max: number, share: number): Candidates {
  let total = 0;
  for (const logit of candidates.logits) total += Math.exp(logit - max);
  const order = sortedOrder(candidates);
  let mass = 0;
  let count = 0;
  while (count < order.length && mass < share * total)
    mass += Math.exp((candidates.logits[order[count++] as number] as number) - max);
  return take(candidates, order, Math.max(1, count));
}

function keepAbove({ tokens, logits }: Candidates, floor: number): Candidates {
  const above = (_: number, i: number) => (logits[i] as number) >= floor;
  return { tokens: tokens.filter(above), logits: logits.filter(above) };
}
