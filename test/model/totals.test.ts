import { expect, test } from 'vitest';
import { checkModel } from '../../model/architectures/check-model.js';
import type { Model } from '../../model/architectures/model.js';
import { modelTotals } from '../../model/architectures/totals.js';
import { tensorBytes, tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { tinyModel } from '../support/tiny-model.js';

test('a dense model: all of its parameters work on every token, and every layer keeps it', () => {
  const source = syntheticModel('qwen3-0.6b', 'q8_0');
  const totals = modelTotals(checkModel(source), source.tensors);
  expect(totals.parameters / 1e9).toBeCloseTo(0.596, 3);
  expect(totals.activeParameters).toBe(totals.parameters);
  // 28 layers with 8 heads of keys and of values, of 128 features in 2 bytes.
  expect(totals).toMatchObject({ tokenBytes: 28 * 8 * 128 * 2 * 2, sequenceBytes: 0 });
  expect(totals.layerKinds).toMatchObject([{ name: 'attention and a feed-forward', layers: 28 }]);
  const ends = ['token_embd.weight', 'output_norm.weight'];
  const bytes = [...source.tensors.values()]
    .filter(({ name }) => !ends.includes(name))
    .reduce((sum, tensor) => sum + tensor.bytes, 0);
  expect(totals.layerKinds[0]?.bytes).toBe(bytes);
});

test('layers with a window keep the same of every text', () => {
  const metadata = [['gemma2.attention.sliding_window', 1024]] as const;
  const source = tinyModel('f32', { metadata }, { architecture: 'gemma2', layers: 4 });
  const totals = modelTotals(checkModel(source), source.tensors);
  expect(totals.layerKinds).toMatchObject([
    { name: 'attention to 1024 tokens and a feed-forward', layers: 2 },
    { name: 'attention and a feed-forward', layers: 2 },
  ]);
  const cellBytes = 2 * 32 * 2 * 2;
  expect(totals.tokenBytes).toBe(2 * cellBytes);
  expect(totals.sequenceBytes).toBeGreaterThanOrEqual(2 * cellBytes * 1024);
  expect(totals.sequenceBytes).toBeLessThan(2 * cellBytes * 4096);
});

test('of experts, those that are chosen work on a token', () => {
  const source = tinyModel('f32', {}, { layers: 1 });
  const model = checkModel(source);
  const experts = { name: 'blk.0.ffn_up_exps.weight', shape: [128, 64, 16] };
  const type = tensorTypeNamed('f32');
  const tensors = new Map([
    ...source.tensors,
    [experts.name, { ...experts, type, bytes: tensorBytes(type, experts.shape) }],
  ]);
  const feedForward = { kind: 'moe', experts: 16, chosen: 4, size: 64, sharedSize: 0 } as const;
  const mixture: Model = {
    ...model,
    layers: model.layers.map((layer) => ({ ...layer, feedForward })),
    tensors: new Map([
      ...model.tensors,
      [experts.name, { ...experts, use: 'matrices of experts' }],
    ]),
  };
  const dense = modelTotals(model, source.tensors).parameters;
  const totals = modelTotals(mixture, tensors);
  expect(totals.parameters).toBe(dense + 128 * 64 * 16);
  expect(totals.activeParameters).toBe(dense + 128 * 64 * 4);
  expect(totals.layerKinds[0]?.name).toBe('attention and 4 of 16 experts');
});

test('blocks that are not used count nowhere', () => {
  const metadata = [['qwen3.nextn_predict_layers', 1]] as const;
  const whole = tinyModel('f32', {}, { layers: 2 });
  const guessing = tinyModel('f32', { metadata }, { layers: 3 });
  const of = (source: typeof whole) => modelTotals(checkModel(source), source.tensors);
  expect(of(guessing)).toEqual(of(whole));
});
