import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { causalBatch } from '../../../coord/step-builder.js';
import { EngineError, greedy } from '../../../engine/engine.js';
import { tensorTypeNamed } from '../../../model/gguf/tensor-types.js';
import { ModelError } from '../../../model/errors.js';
import type { TensorInfo, TensorSource } from '../../../model/tensor-source.js';
import { openTestEngine } from '../../support/engines.js';
import { tinyModel } from '../../support/tiny-model.js';

const engine = openTestEngine('onnx');
const none = new Float32Array(0);
const text = [5, 6, 7, 8];
const batch = causalBatch(text, 0, 4, { start: 0, length: 64 }, Int32Array.of(3), greedy);

async function load(source: TensorSource) {
  const shard = { firstLayer: 0, endLayer: 3, embedding: true, head: true };
  return engine.load({ source, shard, cells: 64, kvType: 'f16', maxBatchTokens: 8 });
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Resident memory when what nobody needs is collected. */
function residentBytes(): number {
  for (let i = 0; i < 3; i++) collect();
  return process.memoryUsage.rss();
}

test('1,000 loads and disposals leave nothing behind', async () => {
  const source = tinyModel('q4_0');
  const use = async (times: number) => {
    for (let i = 0; i < times; i++) {
      const stage = await load(source);
      await stage.forward(batch, none, none);
      await stage.logits({ ...batch, visible: Int32Array.of(0, 1, 0, 1, 0, 1, 0, 4) }, none);
      stage.dispose();
    }
  };
  // Allocators keep some memory for next time.
  await use(200);
  const before = residentBytes();
  await use(1000);
  const perLoad = (residentBytes() - before) / 1000;
  console.log(`${perLoad.toFixed(0)} bytes per load`);
  // The weights alone have 250 kB.
  expect(perLoad).toBeLessThan(10_000);
}, 120_000);

describe('a bad model gives a typed error', () => {
  const f32 = tensorTypeNamed('f32');
  const plain = tinyModel('f32');
  const reshaped = (name: string, ...shape: number[]): [string, TensorInfo] => [
    name,
    { name, type: f32, shape, bytes: shape.reduce((product, size) => product * size, 4) },
  ];
  /** Zeroes for whatever has another shape. */
  const read = ({ bytes }: TensorInfo) => new Uint8Array(bytes);

  const models: Record<string, TensorSource> = {
    'without a matrix': tinyModel('f32', { tensors: [['blk.1.attn_k.weight', undefined]] }),
    'without a norm': tinyModel('f32', { tensors: [['blk.2.ffn_norm.weight', undefined]] }),
    'without the embedding': tinyModel('f32', { tensors: [['token_embd.weight', undefined]] }),
    'with a matrix that takes more': tinyModel('f32', {
      tensors: [reshaped('blk.0.ffn_up.weight', 160, 256)],
      read,
    }),
    'with a matrix that gives less': tinyModel('f32', {
      tensors: [reshaped('blk.0.attn_v.weight', 128, 32)],
      read,
    }),
    'with keys of another size': tinyModel('f32', {
      tensors: [reshaped('blk.0.attn_k.weight', 128, 96)],
      read,
    }),
    'with a norm that is too short': tinyModel('f32', {
      tensors: [reshaped('blk.1.attn_norm.weight', 64)],
      read,
    }),
    'with a norm of heads that is too long': tinyModel('f32', {
      tensors: [reshaped('blk.1.attn_q_norm.weight', 128)],
      read,
    }),
    'with an embedding of another width': tinyModel('f32', {
      tensors: [reshaped('token_embd.weight', 64, 300)],
      read,
    }),
    'with heads that do not fit': tinyModel('f32', {
      metadata: [['qwen3.attention.head_count', 8]],
    }),
    'whose data cannot be read': {
      ...plain,
      fingerprint: 'unreadable',
      read: () => Promise.reject(new ModelError('the file ends within tensor')),
    },
  };

  test.each(Object.entries(models))('%s', async (_, source) => {
    const attempt = async () => {
      const stage = await load(source);
      try {
        await stage.forward(batch, none, none);
      } finally {
        stage.dispose();
      }
    };
    const error: unknown = await attempt().catch((reason: unknown) => reason);
    expect(error instanceof EngineError || error instanceof ModelError, String(error)).toBe(true);
    expect((error as Error).message).not.toContain('\n');
  });
});

test('a batch that makes no sense is refused, and does no harm', async () => {
  const stage = await load(tinyModel('q8_0'));
  const expected = await stage.forward(batch, none, none);
  await expect(
    stage.forward({ ...batch, cells: Int32Array.of(60, 61, 62, 64) }, none, none),
  ).rejects.toThrow(EngineError);
  await expect(
    stage.forward({ ...batch, tokens: Int32Array.of(5, 6, 7, 300) }, none, none),
  ).rejects.toThrow(/token ids beyond 300/);
  expect(await stage.forward(batch, none, none)).toEqual(expected);
  stage.dispose();
});
