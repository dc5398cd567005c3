import { expect, test } from 'vitest';
import { measureQuality } from '../../../../bench/quality.js';
import { root } from '../../../support/golden.js';

test('the demo model keeps its choices over every codec', async () => {
  const results = await measureQuality(root);
  const atLeast = { f32: 1, f16: 0.994, bf16: 0.99, fp8: 0.98, int8: 0.99 };
  for (const { codec, agreement, divergence } of results) {
    expect(agreement, codec).toBeGreaterThanOrEqual(atLeast[codec as keyof typeof atLeast]);
    if (codec === 'f32') expect(divergence).toBe(0);
    else expect(divergence).toBeGreaterThan(0);
  }
});
