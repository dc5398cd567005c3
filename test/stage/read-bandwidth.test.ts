import { expect, test } from 'vitest';
import { readBandwidth } from '../../stage/read-bandwidth.js';
import { openTestEngine } from '../support/engines.js';

test('memory is read once in a process, and only where stages compute from it', async () => {
  const engine = openTestEngine('ggml', 2);
  const { device, threads } = engine;
  const gpu = { ...device, kind: 'vulkan' as const };
  expect(await readBandwidth({ device: gpu, threads })).toBe(0);
  const [first, second] = await Promise.all([readBandwidth(engine), readBandwidth(engine)]);
  // Slower than any disk, or faster than any memory, would be a mistake in units.
  expect(first).toBeGreaterThan(1e8);
  expect(first).toBeLessThan(1e13);
  expect(second).toBe(first);
});
