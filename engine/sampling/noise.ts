/**
 * Noise for the Gumbel-max trick: argmax(logit / temperature + noise) over the tokens is a sample from their softmax
 * (Gumbel 1954; as a sampler: Maddison et al., arXiv 1411.0030). The noise is a pure function of seed, position and
 * token id, so whoever evaluates it, target or draft, on whatever stage, meets the same noise: one seed, one text
 * (drafter-invariant speculative decoding, arXiv 2408.07978).
 */
export function gumbelNoise(seed: number, position: number, token: number): number {
  const uniform = (hash(seed, position, token) + 0.5) / 2 ** 32;
  return -Math.log(-Math.log(uniform));
}

/** The largest value that `gumbelNoise` takes. */
export const maxGumbelNoise = -Math.log(-Math.log(1 - 0.5 / 2 ** 32));

/** 32 well-mixed bits of three numbers. */
function hash(a: number, b: number, c: number): number {
  let h = mix((a ^ 0x9e3779b9) >>> 0);
  h = mix((h + Math.imul(b, 0x85ebca6b)) >>> 0);
  return mix((h ^ Math.imul(c + 1, 0xc2b2ae35)) >>> 0);
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
