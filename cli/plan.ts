import type { Plan } from '../coord/plan.js';
import type { ModelTotals } from '../model/architectures/totals.js';
import { formatBytes } from './format.js';
import { formatKept, formatParameters } from './model-totals.js';

/** What a plan takes, in two lines: the stages with their weights, and what the model is and keeps. */
export function describePlan({ stages }: Plan, totals: ModelTotals): [string, string] {
  const split = stages.map(
    ({ layers, name, device, memory }) =>
      `${layers} layers on ${name} (${device}, ${formatBytes(memory.weights)})`,
  );
  return [split.join(' + '), `${formatParameters(totals)}; keeps ${formatKept(totals)}`];
}
