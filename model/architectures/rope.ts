import { ModelError, quoted } from '../errors.js';
import { ropeFactorsTensor } from '../shard-tensors.js';
import type { FamilyNumbers } from './family-numbers.js';

/** How rotary embedding pairs the features of a head: neighbours, or first half with second half. */
export type RopePairing = 'neighbours' | 'halves';

export interface RopeParameters {
  readonly pairing: RopePairing;
  /** Features of a head that are rotated, the first ones. */
  readonly dimensions: number;
  readonly base: number;
  /** Positions are multiplied by this (linear scaling); 1 leaves them. */
  readonly frequencyScale: number;
  /** YaRN (arXiv 2309.00071): 1 blends interpolation and extrapolation, 0 is off. */
  readonly yarnFactor: number;
  /** Multiplies what is rotated, beside what YaRN multiplies it by. */
  readonly magnitude: number;
  /** Rotations per original context between which YaRN blends. */
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Context length that the model was trained on before scaling. */
  readonly originalContext: number;
  /** Name of f32 [factorCount] that divide the frequencies, in models that have it. */
  readonly factors?: string;
  /** The same for texts of another length: a part of models that is not used. */
  readonly otherFactors?: string;
  /** Default: dimensions / 2, as many as are used. */
  readonly factorCount?: number;
}

/** Reads how heads of a size are rotated. @throws ModelError */
export function readRope(
  numbers: FamilyNumbers,
  headSize: number,
  pairing: RopePairing,
): RopeParameters {
  const dimensions = numbers.of('rope.dimension_count', headSize);
  if (dimensions > headSize || dimensions % 2 !== 0)
    throw numbers.atOdds(
      `${dimensions} features of a head of ${headSize} cannot be rotated in pairs`,
    );
  const base = numbers.of('rope.freq_base', 10_000);
  return { pairing, dimensions, base, ...readScaling(numbers) };
}

/** Layers with a window where they rotate as others do, but for the base that files may name. @throws ModelError */
export function windowRope(numbers: FamilyNumbers, rope: RopeParameters): RopeParameters {
  // llama.cpp takes the scaling of the other layers back then, and leaves it in these.
  if (numbers.text('rope.scaling.type', '') === 'none' && numbers.has('rope.scaling.factor'))
    throw numbers.unsupported('rope.scaling.type', 'is none, and yet there is a factor');
  return { ...rope, base: numbers.of('rope.freq_base_swa', rope.base) };
}

/** Layers with a window where they rotate from a base of their own, and unscaled. @throws ModelError */
export function unscaledWindowRope(numbers: FamilyNumbers, rope: RopeParameters): RopeParameters {
  return { ...rope, base: numbers.of('rope.freq_base_swa', 10_000), frequencyScale: 1 };
}

/** Where YaRN blends, unless a family's files say otherwise. */
export const usualBetas = { fast: 32, slow: 1 };

/** LongRoPE is all in its factors. */
const scalings: readonly string[] = ['none', 'linear', 'yarn', 'longrope'];

const longFactors = 'rope_factors_long.weight';
const shortFactors = 'rope_factors_short.weight';

export type RopeFactors = Pick<RopeParameters, 'factors' | 'otherFactors'>;

/** Which tensor divides frequencies: one for all texts, or those of LongRoPE where a file says that this is its scaling. */
export function ropeFactors(numbers: FamilyNumbers): RopeFactors {
  return numbers.text('rope.scaling.type', 'linear') === 'longrope'
    ? longRopeFactors(numbers)
    : { factors: ropeFactorsTensor };
}

/**
 * LongRoPE (arXiv 2402.13753) has a tensor for texts that are longer than the original context, and one for the others.
 * Keys that are kept fit one of them only, and texts grow: so the longest text that the model is made for decides, and
 * not the text at hand. llama.cpp goes by the context that it is started with, which is that of the file by default.
 * @throws ModelError
 */
export function longRopeFactors(numbers: FamilyNumbers): RopeFactors {
  return numbers.of('context_length') > originalContext(numbers)
    ? { factors: longFactors, otherFactors: shortFactors }
    : { factors: shortFactors, otherFactors: longFactors };
}

function readScaling(
  numbers: FamilyNumbers,
): Omit<RopeParameters, 'pairing' | 'dimensions' | 'base'> {
  const type = numbers.text('rope.scaling.type', 'linear');
  if (!scalings.includes(type))
    throw new ModelError(
      'unsupported',
      `unsupported rope scaling ${quoted(type)}: supported are ${scalings.join(', ')}`,
    );
  // Old files have the factor of linear scaling by another name.
  const factor = numbers.of('rope.scaling.factor', numbers.of('rope.scale_linear', 1));
  // Positions that are spread rather than squeezed change no magnitude: what YaRN multiplies by is taken back.
  const spread = type === 'yarn' ? 1 + 0.1 * Math.log(Math.min(1, factor)) : 1;
  return {
    frequencyScale: type === 'none' ? 1 : 1 / factor,
    yarnFactor: type === 'yarn' ? 1 : 0,
    magnitude: numbers.of('rope.scaling.attn_factor', 1) / spread,
    betaFast: usualBetas.fast,
    betaSlow: usualBetas.slow,
    originalContext: originalContext(numbers),
  };
}

function originalContext(numbers: FamilyNumbers): number {
  return numbers.of('rope.scaling.original_context_length', numbers.of('context_length'));
}
