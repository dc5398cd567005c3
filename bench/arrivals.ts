import { noiseBits, noisePrefix } from '../engine/sampling/noise.js';

/**
 * When conversations arrive that know nothing of each other (a Poisson process), in milliseconds after the first of
 * them. One seed, one schedule.
 * @param perSecond how many do, on average
 */
export function poissonArrivals(count: number, perSecond: number, seed: number): number[] {
  let at = 0;
  return Array.from({ length: count }, (_, index) => {
    if (index > 0) at += (-Math.log(uniform(seed, index)) * 1000) / perSecond;
    return at;
  });
}

/** Between 0 and 1, neither of which it is. */
function uniform(seed: number, index: number): number {
  return (noiseBits(noisePrefix(seed, index), 0) + 0.5) / 2 ** 32;
}
