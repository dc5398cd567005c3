import { expect, test } from 'vitest';
import { formatConversations } from '../../cli/bench-conversations.js';
import { formatExperts } from '../../cli/bench-tables.js';

const fared = {
  count: 4,
  shared: 16,
  ttftMs: { p50: 12.34, p99: 100 },
  tpotMs: { p50: 2, p99: 5 },
  fairness: 2.5,
  longestWaitMs: 123.4,
};

test('conversations: how they fared, and what was asked of them', () => {
  expect(formatConversations({ ...fared, arrive: 0.5 }).split('\n')).toEqual([
    '4 conversations      p50       p99',
    'TTFT             12.3 ms  100.0 ms',
    'TPOT              2.0 ms    5.0 ms',
    'they arrive 0.5 per second, with 16 tokens in common',
    "the slowest takes 2.50 x the median's time per token; the longest wait for a token was 123.4 ms",
  ]);
  expect(formatConversations(fared)).toContain(
    '\nthey answer together, with 16 tokens in common\n',
  );
});

test('experts: means over layers, and the layer that is least even', () => {
  const layer = { rows: 10, steps: 5, distinct: 15, distinctPerStep: 3, mostEntropyBits: 2 };
  const bytes = { bytesPerToken: 15e6, bytesAlone: 20e6 };
  const even = { hottestShare: 0.25, hottestTenthShare: 0.25, entropyBits: 2 };
  const skewed = { hottestShare: 0.75, hottestTenthShare: 0.75, entropyBits: 1 };
  const layers = [
    { layer: 3, counts: [5, 5, 5, 5], ...layer, ...bytes, ...even },
    { layer: 4, counts: [15, 5, 0, 0], ...layer, ...bytes, ...skewed, distinctPerStep: 2 },
  ];
  const use = { layers, bytesPerToken: 30e6, bytesAlone: 40e6 };
  const figures = '50.0 % 50.0 % 1.50 of 2.00 bits 1.00 in 4 2.5 of 4 30 MB 40 MB';
  const rows = (text: string) => text.split('\n').map((line) => line.replaceAll(/ +/g, ' '));
  const [, ...both] = rows(formatExperts({ prefill: use, decode: use }));
  expect(both).toEqual([`prefill ${figures}`, `decode ${figures}`]);
  const [, ...together] = rows(formatExperts({ decode: use }));
  expect(together).toEqual([`both ${figures}`]);
});
