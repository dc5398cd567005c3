/**
 * Noise for the Gumbel-max trick: argmax(logit / temperature + noise) over the tokens is a sample from their softmax
 * (Gumbel 1954; as a sampler: Maddison et al., arXiv 1411.0030). The noise is a pure function of seed, position and
 * token id, so whoever evaluates it, target or draft, on whatever stage, meets the same noise: one seed, one text
 * (drafter-invariant speculative decoding, arXiv 2408.07978).
 */
export function gumbelNoise(seed: number, position: number, token: number): number {
  return gumbelOfBits(noiseBits(noisePrefix(seed, position), token));
}

/** The part of the noise that all tokens of a position share. */
export function noisePrefix(seed: number, position: number): number {
  return mix((mix((seed ^ 0x9e3779b9) >>> 0) + Math.imul(position, 0x85ebca6b)) >>> 0);
}

/** 32 well-mixed bits for a token. The more they are as a number, the larger the noise. */
export function noiseBits(prefix: number, token: number): number {
  return mix((prefix ^ Math.imul(token + 1, 0xc2b2ae35)) >>> 0);
}

/** The value of the Gumbel distribution at the quantile that the bits stand for. */
export function gumbelOfBits(bits: number): number {
  return -Math.log(-Math.log((bits + 0.5) / 2 ** 32));
}

/** The largest value that the noise takes. */
export const maxGumbelNoise = gumbelOfBits(2 ** 32 - 1);

/** Entries of `fewestBits` per unit of noise. */
const entriesPerUnit = 16;

/** For noise of at least i / 16 the bits must be at least this: spares the logarithms of tokens that cannot win. */
const fewestBits = Float64Array.from(
  { length: Math.ceil(maxGumbelNoise * entriesPerUnit) + 1 },
  (_, i) => Math.floor(Math.exp(-Math.exp(-i / entriesPerUnit)) * 2 ** 32) - 1,
);

/** Whether the bits can stand for noise above `least`; false is certain, true has to be looked at. */
export function mayExceed(bits: number, least: number): boolean {
  if (least <= 0) return true;
  if (least > maxGumbelNoise) return false;
  return bits >= (fewestBits[Math.floor(least * entriesPerUnit)] as number);
}

/** A bijection of 32 bits in which every input bit reaches every output bit (the finaliser of MurmurHash3, twice). */
function mix(h: number): number {
  for (let round = 0; round < 2; round++) {
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h = (h ^ (h >>> 16)) + 0x6d2b79f5;
  }
  return h >>> 0;
}
