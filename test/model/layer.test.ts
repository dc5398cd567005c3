import { expect, test } from 'vitest';
import { checkModel } from '../../model/architectures/check-model.js';
import {
  cellBytes,
  layerMemory,
  type Layer,
  type Packing,
} from '../../model/architectures/layer.js';
import { tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';

const dense = { kind: 'dense', size: 256 } as const;
const written = { operations: 1, products: 1 };

test('all layers of a dense model keep keys and values of every token', () => {
  const { layers } = checkModel(syntheticModel('qwen3-0.6b', 'q4_0'));
  expect(layers).toHaveLength(28);
  expect(new Set(layers.map((layer) => JSON.stringify(layer))).size).toBe(1);
  const memory = layerMemory(layers[0] as Layer);
  expect(memory).toEqual({ kind: 'cells', keyElements: 1024, valueElements: 1024 });
  if (memory.kind !== 'cells') return;
  const same = (packing: Packing) => cellBytes(memory, packing, packing);
  expect(same(tensorTypeNamed('f16'))).toBe(4096);
  expect(same(tensorTypeNamed('q8_0'))).toBe((2048 / 32) * 34);
  expect(same({ blockSize: 1, blockBytes: 4 })).toBe(8192);
});

test('layers with a window, a latent vector or a state keep less', () => {
  const heads = { heads: 64, kvHeads: 8, keySize: 192, valueSize: 128, scale: 1 };
  const window: Layer = {
    attention: { kind: 'gqa', ...heads, window: 128 },
    feedForward: dense,
    ...written,
  };
  expect(layerMemory(window)).toEqual({
    kind: 'cells',
    keyElements: 1536,
    valueElements: 1024,
    window: 128,
  });
  // Sizes of DeepSeek V3: what its KV cache keeps are 576 numbers a token and layer (arXiv 2412.19437).
  const latent: Layer = {
    attention: { kind: 'mla', heads: 128, latentSize: 512, rotatedSize: 64, scale: 1 },
    feedForward: { kind: 'moe', experts: 256, chosen: 8, size: 2048, sharedSize: 2048 },
    ...written,
  };
  expect(layerMemory(latent)).toEqual({ kind: 'cells', keyElements: 576, valueElements: 0 });
  const state: Layer = {
    attention: { kind: 'linear', heads: 32, size: 128, convolved: 8192, width: 4 },
    feedForward: dense,
    ...written,
  };
  expect(layerMemory(state)).toEqual({ kind: 'state', bytes: 2 ** 21 + 3 * 8192 * 4 });
});
