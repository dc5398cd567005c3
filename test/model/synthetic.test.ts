import { describe, expect, test } from 'vitest';
import { syntheticModel, syntheticTypes } from '../../model/synthetic/synthetic-model.js';
import { syntheticShape } from '../../model/synthetic/shapes.js';
import type { TensorSource } from '../../model/tensor-source.js';

function parameters({ tensors }: TensorSource): number {
  return [...tensors.values()].reduce(
    (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
    0,
  );
}

describe('synthetic models', () => {
  /** Billions of parameters, as their makers count them. */
  const billions = {
    'qwen3-0.6b': 0.6,
    'qwen3-4b': 4.0,
    'llama-8b': 8.0,
    'qwen3-30b-a3b': 30.5,
    'gpt-oss-20b': 20.9,
    'glm-4.5-air': 106.9,
    'deepseek-v3': 671.0,
    'kimi-k2': 1026.4,
    'qwen3.5-35b-a3b': 34.7,
  };

  test.each(Object.entries(billions))('%s has the size of its model', (name, expected) => {
    expect(parameters(syntheticModel(name, 'f16')) / 1e9).toBeCloseTo(expected, 1);
  });

  test('have fewer layers where that is asked for', () => {
    const of = (layers: number) =>
      parameters(syntheticModel(syntheticShape('qwen3-30b-a3b', layers), 'q4_0'));
    expect(of(3) - of(2)).toBe(of(2) - of(1));
    expect(of(48)).toBe(parameters(syntheticModel('qwen3-30b-a3b', 'q4_0')));
    expect(() => syntheticShape('qwen3-30b-a3b', 49)).toThrow('has 48 layers');
  });

  test.each(syntheticTypes)('in %s read the same whole and in parts, every time', async (type) => {
    const name = 'blk.5.ffn_up.weight';
    const [one, two] = [syntheticModel('qwen3-0.6b', type), syntheticModel('qwen3-0.6b', type)];
    const bytes = Math.min(one.tensors.get(name)?.bytes ?? 0, 3_000_000);
    const [whole, parts] = [new Uint8Array(bytes), new Uint8Array(bytes)];
    await one.read(name, 0, whole);
    for (let offset = 0; offset < bytes; offset += 700_001)
      await two.read(name, offset, parts.subarray(offset, offset + 700_001));
    expect(Buffer.compare(parts, whole)).toBe(0);
    expect(one.fingerprint).toBe(two.fingerprint);
  });

  test('differ by shape, type and tensor', async () => {
    expect(syntheticModel('qwen3-4b', 'q4_0').fingerprint).not.toBe(
      syntheticModel('qwen3-4b', 'q8_0').fingerprint,
    );
    const model = syntheticModel('qwen3-0.6b', 'q4_0');
    const [a, b] = [new Uint8Array(1000), new Uint8Array(1000)];
    await model.read('blk.0.attn_q.weight', 0, a);
    await model.read('blk.1.attn_q.weight', 0, b);
    expect(a).not.toEqual(b);
  });

  test('refuse what they do not know', () => {
    expect(() => syntheticModel('gpt-9', 'q4_0')).toThrow(
      /unknown shape "gpt-9": known are qwen3-0.6b/,
    );
    expect(() => syntheticModel('qwen3-4b', 'q2_K')).toThrow(/no random weights of type "q2_K"/);
  });
});
