import { describe, expect, test } from 'vitest';
import { checkMemory, splitLayers, type Candidate } from '../../coord/plan.js';

const machine = (name: string, freeBytes: number, shared = name): Candidate => ({
  name,
  device: 'cpu',
  machine: shared,
  freeBytes,
});
const three = [machine('coordinator', 4e9), machine('a:1', 8e9), machine('b:1', 4e9)];

describe('splitLayers', () => {
  test('takes an explicit split, ends at the ends', () => {
    expect(splitLayers(16, three, [5, 6, 5])).toEqual([
      { firstLayer: 0, endLayer: 5, embedding: true, head: false },
      { firstLayer: 5, endLayer: 11, embedding: false, head: false },
      { firstLayer: 11, endLayer: 16, embedding: false, head: true },
    ]);
  });

  test('gives the embedding to the first worker when the coordinator holds no layer', () => {
    const [coordinator, first] = splitLayers(16, three, [0, 8, 8]);
    expect(coordinator).toMatchObject({ firstLayer: 0, endLayer: 0, embedding: false });
    expect(first).toMatchObject({ embedding: true });
  });

  test('is proportional to free memory without one, machines shared by stages counted once', () => {
    const layers = (candidates: Candidate[]) =>
      splitLayers(16, candidates).map(({ firstLayer, endLayer }) => endLayer - firstLayer);
    expect(layers(three)).toEqual([4, 8, 4]);
    expect(
      layers([machine('coordinator', 8e9, 'x'), machine('l:1', 8e9, 'x'), machine('a:1', 8e9)]),
    ).toEqual([4, 4, 8]);
    expect(layers([machine('coordinator', 1), machine('a:1', 1e12)])).toEqual([1, 15]);
  });

  test.each([
    [[8, 9], 'is for 2 stages, but there are 3'],
    [[5, 6, 6], 'adds up to 17, but the model has 16 layers'],
    [[16, 0, 0], 'needs at least 1 layer'],
    [[20, -2, -2], 'needs at least 1 layer'],
  ])('refuses %j', (wanted, message) => {
    expect(() => splitLayers(16, three, wanted)).toThrow(message);
  });

  test('refuses more stages than layers', () => {
    expect(() => splitLayers(2, three)).toThrow('3 stages for 2 layers');
  });
});

describe('checkMemory', () => {
  const plan = (weights: number[]) => ({
    stages: weights.map((bytes, i) => ({
      name: three[i]?.name ?? '',
      layers: 5,
      firstLayer: 0,
      endLayer: 5,
      device: 'cpu',
      memory: { weights: bytes, kv: 0, compute: 0 },
    })),
  });

  test('names the stage and the figures', () => {
    expect(() => checkMemory(plan([1e9, 9e9, 1e9]), three)).toThrow(
      /not enough memory for 5 layers on a:1: needs 90\d\d MB .*8000 MB are free/,
    );
    expect(() => checkMemory(plan([1e9, 1e9, 1e9]), three)).not.toThrow();
  });

  test('adds up stages on one machine', () => {
    const together = three.map((candidate) => ({ ...candidate, machine: 'one', freeBytes: 4e9 }));
    expect(() => checkMemory(plan([2e9, 2e9, 2e9]), together)).toThrow(
      '5 layers on coordinator and',
    );
  });
});
