import type { Sampling } from '../../step/sampling.js';

/** Tokens further below the likeliest than this (after temperature) have a probability below 1e-13: never candidates. */
const negligible = 30;

/** Tokens that may be chosen, in no particular order, with their logits after temperature. */
export interface Candidates {
  readonly tokens: Int32Array;
  readonly logits: Float64Array;
}

/** Whether any filter is on; without one every token is a candidate. */
export function isFiltered({ topK, topP, minP }: Sampling): boolean {
  return topK > 0 || topP < 1 || minP > 0;
}

/**
 * The tokens that the filters leave: temperature, then top-k, then top-p, then min-p, each on what the one before
 * left. Of equally likely tokens the smaller id stays.
 * @param logits [vocabulary] f32
 */
export function filterCandidates(logits: Float32Array, sampling: Sampling): Candidates {
  const { temperature, topK, topP, minP } = sampling;
  let max = -Infinity;
  for (let token = 0; token < logits.length; token++)
    if (logits[token]! > max) max = logits[token]!;

  // Vocabularies are large and few tokens stay: a histogram says how far down those can be, and only they are sorted.
  const histogram = new LogitHistogram(logits, max, temperature);
  const minPReach = minP > 0 ? -Math.log(minP) : Infinity;
  const reach = Math.min(
    negligible,
    topK > 0 ? histogram.reachOfCount(topK) : topP < 1 ? histogram.reachOfMass(topP) : minPReach,
  );
  let kept = collect(logits, max, temperature, reach);
  if (topK > 0 && kept.tokens.length > topK) kept = take(kept, sortedOrder(kept), topK);
  if (topP < 1) {
    const total = topK > 0 ? massOf(kept, max / temperature) : histogram.mass;
    kept = keepMass(kept, max / temperature, topP * total);
  }
  return minP > 0 ? keepAbove(kept, max / temperature - minPReach) : kept;
}

/** Bins per unit of a logit after temperature. */
const binsPerUnit = 64;
const bins = negligible * binsPerUnit;

/** The probability, relative to the likeliest token's, in the middle of a bin. */
const binMass = Float64Array.from({ length: bins }, (_, bin) =>
  Math.exp(-(bin + 0.5) / binsPerUnit),
);
const counts = new Uint32Array(bins);

/** How many tokens are how far below the likeliest. */
class LogitHistogram {
  /** Sum of all probabilities relative to the likeliest token's, to within a bin's width each. */
  readonly mass: number;

  constructor(logits: Float32Array, max: number, temperature: number) {
    counts.fill(0);
    const scale = binsPerUnit / temperature;
    for (let token = 0; token < logits.length; token++) {
      const bin = (max - logits[token]!) * scale;
      if (bin < bins) counts[bin | 0]!++;
    }
    this.mass = counts.reduce((sum, count, bin) => sum + count * binMass[bin]!, 0);
  }

  /** A distance below the likeliest within which there are at least `count` tokens, if there are as many. */
  reachOfCount(count: number): number {
    let found = 0;
    let bin = 0;
    while (bin < bins && found < count) found += counts[bin++]!;
    return (bin + 1) / binsPerUnit;
  }

  /** A distance below the likeliest within which the tokens have at least this share of the mass. */
  reachOfMass(share: number): number {
    let found = 0;
    let bin = 0;
    while (bin < bins && found < share * this.mass) found += counts[bin]! * binMass[bin++]!;
    // Bins are approximate: some more, so that the exact count does not run out of tokens.
    return (bin + 2) / binsPerUnit;
  }
}

function collect(
  logits: Float32Array,
  max: number,
  temperature: number,
  reach: number,
): Candidates {
  const floor = max - reach * temperature;
  let count = 0;
  for (let token = 0; token < logits.length; token++) if (logits[token]! >= floor) count++;
  const kept = { tokens: new Int32Array(count), logits: new Float64Array(count) };
  for (let token = 0, i = 0; i < count; token++) {
    const logit = logits[token]!;
    if (!(logit >= floor)) continue;
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

function massOf({ logits }: Candidates, max: number): number {
  return logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0);
}

/** The fewest likeliest tokens whose probabilities, relative to the likeliest's, add up to `wanted`. */
function keepMass(candidates: Candidates, max: number, wanted: number): Candidates {
  const order = sortedOrder(candidates);
  let mass = 0;
  let count = 0;
  while (count < order.length && mass < wanted)
    mass += Math.exp(candidates.logits[order[count++]!]! - max);
  return take(candidates, order, Math.max(1, count));
}

function keepAbove({ tokens, logits }: Candidates, floor: number): Candidates {
  const above = (_: number, i: number) => (logits[i] as number) >= floor;
  return { tokens: tokens.filter(above), logits: logits.filter(above) };
}
