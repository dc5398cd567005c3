import type { FamilyNumbers } from '../family-numbers.js';
import { ropeFactors } from '../rope.js';
import { plainFamily, type PlainVariant } from './plain.js';

/** Granite 3 and 4 (dense): scales of embedding, residual stream, scores and logits. */
export const granite = plainFamily('granite', graniteVariant);

/** What Granite's models have in common. @throws ModelError */
export function graniteVariant(numbers: FamilyNumbers): PlainVariant {
  const scale = numbers.of('attention.scale', 0);
  const isRotated = numbers.flag('rope.scaling.finetuned', true);
  return {
    pairing: 'neighbours',
    factors: ropeFactors,
    scales: {
      ...optional('embedding', numbers.of('embedding_scale', 0)),
      ...optional('residual', numbers.of('residual_scale', 0)),
    },
    logits: { scale: divisor(numbers, numbers.of('logit_scale')) },
    attends: ({ rope, ...attention }) => ({
      ...attention,
      ...(isRotated ? { rope } : {}),
      ...(scale === 0 ? {} : { options: { scale } }),
    }),
  };
}

/** What logits are multiplied by where they are divided by a number. */
export function divisor(numbers: FamilyNumbers, scale: number): number {
  if (scale === 0) throw numbers.atOdds('logits cannot be divided by 0');
  return 1 / scale;
}

/** A scale of 0 is that of a model without it. */
function optional<Name extends string>(name: Name, scale: number): { [name in Name]?: number } {
  return scale === 0 ? {} : ({ [name]: scale } as { [name in Name]: number });
}
