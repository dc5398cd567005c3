import { readExperts } from '../blocks/experts.js';
import { readHeadsOfLayers } from '../blocks/grouped-query-attention.js';
import { readListedWindows } from '../blocks/windows.js';
import { readSizes, type Family } from '../family.js';
import type { FamilyNumbers } from '../family-numbers.js';
import { readRope, ropeFactors, unscaledWindowRope, type RopeParameters } from '../rope.js';
import { plainFamily, type PlainVariant } from './plain.js';

/** Step 3.5: heads by layer, each with a gate, and products of the last layers' experts within limits. */
export const step35: Family = {
  ...plainFamily(
    'step35',
    (numbers) => {
      const { layers } = readSizes(numbers);
      const windows = readListedWindows(numbers, layers, { hasOwnRotation: true });
      const heads = readHeadsOfLayers(numbers, layers);
      const ropes = readRopes(numbers, heads[0]!.keySize);
      return {
        pairing: 'halves',
        heads,
        norms: 'each head, if any',
        attends: (attention, index) => {
          const gated = { ...attention, gates: 'heads, if any' } as const;
          const window = windows[index];
          return window === undefined
            ? { ...gated, rope: ropes.whole }
            : { ...gated, rope: ropes.window, options: { window } };
        },
        experts: {
          ...readExperts(numbers, {
            ...{ gating: 'sigmoid', normalise: false, said: 'all' },
            shared: { size: numbers.of('expert_shared_feed_forward_length') },
          }),
          leadingDense: 0,
          isOptional: true,
        },
        ...readLimits(numbers, layers),
      };
    },
    /(attn_[qk]_norm|attn_gate|blk\.[1-9]\d*\.ffn_gate_inp)\.weight$|exp_probs_b|^rope_freqs/,
  ),
  // llama.cpp loads these, and does not compute with them.
  lacks: /attn_qkv\.|attn_[qkv]\.(bias|scale)$|(attn_gate|ffn_\w+)\.scale$/,
};

/**
 * Layers without a window rotate half of what files say, and divide frequencies by factors, of which there are as many as
 * the layer has that rotates most.
 */
function readRopes(
  numbers: FamilyNumbers,
  keySize: number,
): { readonly whole: RopeParameters; readonly window: RopeParameters } {
  const rope = readRope(numbers, keySize, 'halves');
  const dimensions = numbers.of('rope.dimension_count_swa', rope.dimensions);
  if (rope.dimensions % 4 !== 0 || dimensions % 2 !== 0 || dimensions > keySize)
    throw numbers.atOdds(
      `${rope.dimensions / 2} or ${dimensions} features of a head of ${keySize} cannot be rotated in pairs`,
    );
  const half = rope.dimensions / 2;
  const factorCount = Math.max(half, dimensions) / 2;
  return {
    whole: { ...rope, ...ropeFactors(numbers), dimensions: half, factorCount },
    window: { ...unscaledWindowRope(numbers, rope), dimensions },
  };
}

/** Smaller ones are none. */
const leastLimit = 1e-6;

function readLimits(numbers: FamilyNumbers, layers: number): Pick<PlainVariant, 'limits'> {
  const chosen = numbers.ofLayers('swiglu_clamp_exp', layers, 0);
  const shared = numbers.ofLayers('swiglu_clamp_shexp', layers, 0);
  const limit = (value = 0) => (value > leastLimit ? value : undefined);
  return {
    limits: (index) => ({ limit: limit(chosen[index]), sharedLimit: limit(shared[index]) }),
  };
}
