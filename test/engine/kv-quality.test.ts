import { expect, test } from 'vitest';
import { measureKvQuality } from '../../bench/kv-quality.js';
import { root } from '../support/golden.js';

test('8 bits of KV change little, 4 bits more', async () => {
  const results = await measureKvQuality(root);
  const of = (name: string) => {
    const found = results.find(({ engine, stored }) => `${engine} ${stored}` === name);
    if (!found) throw new Error(`${name} was not measured`);
    return found;
  };
  for (const exact of ['ggml f16', 'onnx f32']) expect(of(exact).divergence).toBe(0);
  for (const eightBits of ['ggml q8_0', 'onnx int8']) {
    expect(of(eightBits).divergence).toBeGreaterThan(0);
    expect(of(eightBits).divergence).toBeLessThan(4e-5);
    expect(of(eightBits).answerAgreement).toBeGreaterThan(0.99);
  }
  expect(of('ggml q4_0').divergence).toBeGreaterThan(1e-4);
});
