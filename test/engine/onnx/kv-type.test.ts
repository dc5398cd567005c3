import { expect, test } from 'vitest';
import { kvTypes } from '../../../engine/engine.js';
import { storedKvType } from '../../../engine/onnx/kv-type.js';
import { openTestEngine } from '../../support/engines.js';
import { tinyModel } from '../../support/tiny-model.js';

const shard = { firstLayer: 0, endLayer: 3, embedding: true, head: true };

test.each(kvTypes)('a stage keeps %s as it says, or is refused', async (kvType) => {
  const engine = openTestEngine('onnx');
  const source = tinyModel('f32');
  const loading = engine.load({ source, shard, cells: 64, kvType, maxBatchTokens: 8 });
  if (kvType !== 'f16') {
    const refusal = `onnx keeps keys and values as f32, not as ${kvType}: leave --kv-type out, or use --engine ggml`;
    await expect(loading).rejects.toThrow(refusal);
    return;
  }
  const stage = await loading;
  expect(storedKvType(engine.device.name, kvType)).toBe('f32');
  // 2 kinds, 3 layers, 64 cells and one behind them, of 2 heads with 32 features.
  expect(stage.memory.kv).toBe(2 * 3 * 65 * 2 * 32 * 4);
  stage.dispose();
});

test.each(kvTypes)('ggml keeps %s as it is', (kvType) => {
  expect(storedKvType(openTestEngine('ggml').device.name, kvType)).toBe(kvType);
});
