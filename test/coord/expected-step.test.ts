import { expect, test } from 'vitest';
import { expectedStep } from '../../coord/expected-step.js';
import { tinyModel } from '../support/tiny-model.js';

const source = tinyModel('f32');
const first = { firstLayer: 0, endLayer: 1, embedding: true, head: false };
const last = { firstLayer: 1, endLayer: 3, embedding: false, head: true };
const cpu = { device: 'CPU', threads: 1 };
const gpu = { device: 'Metal', threads: 1 };
const expected = (...stages: { device: string; threads: number }[]) =>
  expectedStep(
    source,
    [first, last].map((shard, i) => ({ shard, ...(stages[i] ?? cpu) })),
  );

test('a step takes as long as all stages, a prompt as long as the slowest', () => {
  const cpus = expected(cpu, cpu);
  // The embedding's table is the head's matrix, too.
  const bytes = [...source.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
  expect(cpus.decodeMs).toBeCloseTo(bytes / 20e6, 9);
  expect(cpus.promptRowMs).toBeGreaterThan(cpus.decodeMs / 8);
  expect(expected(gpu, cpu).promptRowMs).toBe(cpus.promptRowMs);
  expect(expected(gpu, gpu).promptRowMs).toBeLessThan(cpus.promptRowMs / 10);
  expect(expected({ ...cpu, threads: 2 }, cpu).decodeMs).toBeLessThan(cpus.decodeMs);
});
