import type { FamilyNumbers } from '../family-numbers.js';
import { ropeFactors, usualBetas, type RopeParameters } from '../rope.js';
import { plainFamily } from './plain.js';

/** Mistral Small 3, and Ministral 3, whose queries grow in long texts. */
export const mistral3 = plainFamily('mistral3', (numbers) => {
  const scale = numbers.of('attention.temperature_scale', 0);
  return {
    pairing: 'neighbours',
    factors: ropeFactors,
    attends: ({ rope, ...attention }) => ({
      ...attention,
      ...(rope ? { rope: ownYarn(numbers, rope) } : {}),
      ...(rope && scale !== 0 ? { temper: { scale, length: rope.originalContext } } : {}),
    }),
  };
});

/** YaRN multiplies what it rotates by 1 + 0.1 · ln(factor); files may say that this is taken back. */
function ownYarn(numbers: FamilyNumbers, rope: RopeParameters): RopeParameters {
  const multiplier = numbers.of('rope.scaling.yarn_log_multiplier', 0);
  const factor = rope.yarnFactor === 0 ? 1 : Math.max(1, 1 / rope.frequencyScale);
  return {
    ...rope,
    magnitude: rope.magnitude / (1 + 0.1 * multiplier * Math.log(factor)),
    betaFast: numbers.of('rope.scaling.yarn_beta_fast', usualBetas.fast),
    betaSlow: numbers.of('rope.scaling.yarn_beta_slow', usualBetas.slow),
  };
}
