import type { HeadSizes } from '../blocks/grouped-query-attention.js';
import { normsAround } from '../blocks/residual.js';
import { readSizes } from '../family.js';
import type { FamilyNumbers } from '../family-numbers.js';
import type { PlainVariant } from './plain.js';

/**
 * What the models of Gemma have in common (arXiv 2408.00118).
 * @param largest layers of the one whose scores are scaled by what its heads would have of the hidden size
 */
export function gemma(
  numbers: FamilyNumbers,
  { heads, keySize }: HeadSizes,
  largest: number,
): { readonly variant: PlainVariant; readonly scale: number } {
  const hiddenSize = numbers.of('embedding_length');
  const isLargest = readSizes(numbers).layers === largest;
  return {
    variant: {
      pairing: 'halves',
      layerNorms: normsAround,
      feedForward: { kind: 'gelu' },
      scales: { embedding: Math.sqrt(hiddenSize) },
    },
    scale: 1 / Math.sqrt(isLargest ? hiddenSize / heads : keySize),
  };
}

/** A cap of 0 caps nothing. */
export function cap(softcap: number): { readonly softcap?: number } {
  return softcap === 0 ? {} : { softcap };
}
