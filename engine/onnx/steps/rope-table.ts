import type { RopeParameters } from '../../../model/architectures/rope.js';

/**
 * Cosines and sines of rotary embedding. They are computed for the positions of every step, in f64, so that there is
 * no table with an end.
 */
export class RopeTable {
  /** Angle per position of each rotated pair of features. */
  readonly #frequencies: Float64Array;
  readonly #magnitude: number;

  /** @param factors [dimensions / 2] divide the frequencies, in models that have them */
  constructor(rope: RopeParameters, factors?: Float32Array) {
    this.#frequencies = Float64Array.from({ length: rope.dimensions / 2 }, (_, pair) => {
      const plain = rope.base ** ((-2 * pair) / rope.dimensions) / (factors?.[pair] ?? 1);
      const share = rope.yarnFactor * extrapolatedShare(rope, pair);
      return plain * (rope.frequencyScale * (1 - share) + share);
    });
    const blended = rope.yarnFactor === 0 ? 1 : 1 + 0.1 * Math.log(1 / rope.frequencyScale);
    this.#magnitude = rope.magnitude * blended;
  }

  /** Pairs of features that are rotated. */
  get pairs(): number {
    return this.#frequencies.length;
  }

  /** @param cosines [n, pairs] f32, as `sines` */
  fill(positions: Int32Array, cosines: Float32Array, sines: Float32Array): void {
    const { pairs } = this;
    positions.forEach((position, row) => {
      for (let pair = 0; pair < pairs; pair++) {
        const angle = position * this.#frequencies[pair]!;
        cosines[row * pairs + pair] = Math.cos(angle) * this.#magnitude;
        sines[row * pairs + pair] = Math.sin(angle) * this.#magnitude;
      }
    });
  }
}

/** How much of a pair keeps its frequency under YaRN: all of it where it turns often within the original context. */
function extrapolatedShare(rope: RopeParameters, pair: number): number {
  const pairTurning = (rotations: number) =>
    (rope.dimensions * Math.log(rope.originalContext / (rotations * 2 * Math.PI))) /
    (2 * Math.log(rope.base));
  const low = Math.max(0, Math.floor(pairTurning(rope.betaFast)));
  const high = Math.min(rope.dimensions - 1, Math.ceil(pairTurning(rope.betaSlow)));
  const ramp = (pair - low) / Math.max(0.001, high - low);
  return 1 - Math.min(1, Math.max(0, ramp));
}
