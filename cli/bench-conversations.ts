import type { ConversationsResult, Spread } from '../bench/waits.js';
import { formatTable } from './format.js';

/** How conversations at once fared, and what was asked of them. */
export interface ConversationsReport extends ConversationsResult {
  /** Tokens that their texts have in common. */
  readonly shared: number;
  /** How many arrive per second; absent where they answer together. */
  readonly arrive?: number | undefined;
}

/** The same for people. */
export function formatConversations(report: ConversationsReport): string {
  const { count, ttftMs, tpotMs, fairness, longestWaitMs, shared, arrive } = report;
  const row = (name: string, { p50, p99 }: Spread) => [name, ms(p50), ms(p99)];
  return [
    formatTable([
      [`${count} conversations`, 'p50', 'p99'],
      row('TTFT', ttftMs),
      row('TPOT', tpotMs),
    ]),
    `they ${arrive === undefined ? 'answer together' : `arrive ${arrive} per second`}, with ${shared} tokens in common`,
    `the slowest takes ${fairness.toFixed(2)} x the median's time per token; the longest wait for a token was ${ms(longestWaitMs)}`,
  ].join('\n');
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}
