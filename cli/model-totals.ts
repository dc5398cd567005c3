import type { ModelTotals } from '../model/architectures/totals.js';
import { formatBytes } from './format.js';

/** A model's parameters, and those of them that work on a token where these are fewer. */
export function formatParameters({
  parameters,
  activeParameters,
}: Pick<ModelTotals, 'parameters' | 'activeParameters'>): string {
  const active =
    activeParameters < parameters
      ? `, of which a token goes through ${formatCount(activeParameters)}`
      : '';
  return `${formatCount(parameters)} parameters${active}`;
}

function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)} billion`;
  return count >= 1e6
    ? `${(count / 1e6).toFixed(0)} million`
    : `${(count / 1e3).toFixed(0)} thousand`;
}

/** What a text takes. */
export function formatKept({
  tokenBytes,
  sequenceBytes,
}: Pick<ModelTotals, 'tokenBytes' | 'sequenceBytes'>): string {
  const parts = [
    ...(tokenBytes > 0 ? [`${formatBytes(tokenBytes)} for every token`] : []),
    ...(sequenceBytes > 0 ? [`${formatBytes(sequenceBytes)} for every text`] : []),
  ];
  return `${parts.join(', and ')} (keys and values as f16)`;
}
