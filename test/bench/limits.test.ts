import { describe, expect, test } from 'vitest';
import { bytesRead, stageLimit, type StepTimes } from '../../bench/limits.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { tinyModel, tinyShape } from '../support/tiny-model.js';

const { hiddenSize, vocabulary, layers } = tinyShape;
const shard = { firstLayer: 0, endLayer: layers, embedding: true, head: true };

describe('a step reads', () => {
  const source = tinyModel('f16');
  const { tensors } = source;
  const table = tensors.get('token_embd.weight')?.bytes ?? 0;
  const weightsOf = (part: Partial<typeof shard>) =>
    bytesRead(source, { ...shard, ...part }, { kv: 0 }, 1, 0).weights;

  test('all weights, a tied embedding once and as the head', () => {
    const all = [...tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    expect(table).toBe(hiddenSize * vocabulary * 2);
    expect(weightsOf({})).toBe(all);
    expect(weightsOf({ embedding: false })).toBe(all);
    // A row of the table is nothing beside the layers.
    const norm = tensors.get('output_norm.weight')?.bytes ?? 0;
    expect(weightsOf({ head: false })).toBe(all - table - norm);
  });

  test('of experts only those that a token goes through', () => {
    const experts = syntheticModel('tiny-qwen3moe', 'f16');
    const all = [...experts.tensors.values()];
    const bytesOf = (isExpert: boolean) =>
      all
        .filter(({ name }) => name !== 'token_embd.weight' && name.includes('_exps.') === isExpert)
        .reduce((sum, { bytes }) => sum + bytes, 0);
    const { weights } = bytesRead(experts, shard, { kv: 0 }, 1, 0);
    // 2 of 8.
    expect(weights).toBe(bytesOf(false) + bytesOf(true) / 4);
  });

  test('only those of its layers', () => {
    const first = weightsOf({ endLayer: 1, head: false });
    const rest = weightsOf({ firstLayer: 1, embedding: false });
    expect(first).toBeGreaterThan(0);
    expect(first + rest).toBe(weightsOf({}));
  });

  test("of keys and values, the text's share of the cells", () => {
    expect(bytesRead(source, shard, { kv: 1000 }, 500, 20).kv).toBe(40);
  });
});

describe('a stage is bound by', () => {
  const read = { weights: 9e6, kv: 1e6 };
  const alone: StepTimes = { computeMs: 1, waitMs: 0.1, linkMs: 0, othersMs: 0 };
  const boundOf = (memory: number, times: Partial<StepTimes>) =>
    stageLimit(read, memory, { ...alone, ...times }).bound;

  test('computing, where it reads slower than memory gives', () => {
    expect(stageLimit(read, 20e9, alone)).toEqual({
      ...read,
      bytesPerSecond: 10e9,
      memoryBytesPerSecond: 20e9,
      bound: 'compute',
    });
    expect(boundOf(0, {})).toBe('compute');
  });

  test('memory, where it reads about as fast as that gives', () => {
    expect(boundOf(12e9, {})).toBe('memory');
    expect(boundOf(10e9, {})).toBe('memory');
  });

  test('waiting, while others compute', () => {
    expect(boundOf(12e9, { waitMs: 1.1, othersMs: 1 })).toBe('waiting');
    // With drafts on their way, others compute while it does.
    expect(boundOf(12e9, { waitMs: 0.8, othersMs: 3 })).toBe('waiting');
    expect(boundOf(12e9, { waitMs: 0.2, othersMs: 0.2 })).toBe('memory');
  });

  test('its link, where steps are longer on their way than others compute', () => {
    expect(boundOf(12e9, { waitMs: 3, othersMs: 1 })).toBe('link');
    expect(boundOf(12e9, { waitMs: 1, othersMs: 1, linkMs: 2 })).toBe('link');
  });

  test('nothing of its own without layers', () => {
    const none = { computeMs: 0, waitMs: 2, linkMs: 0.1, othersMs: 1.9 };
    const limit = stageLimit({ weights: 0, kv: 0 }, 12e9, none);
    expect(limit).toMatchObject({ bytesPerSecond: 0, bound: 'waiting' });
  });
});
