import { expect, test } from 'vitest';
import { describePlan } from '../../cli/plan.js';

const stage = { firstLayer: 0, endLayer: 13, memory: { weights: 14.2e9, kv: 1, compute: 2 } };
const totals = {
  parameters: 30.5e9,
  activeParameters: 3.3e9,
  layerKinds: [],
  tokenBytes: 98_304,
  sequenceBytes: 0,
};

test('a plan says in two lines what goes where, and what the model takes', () => {
  const stages = [
    { ...stage, name: 'coordinator', layers: 13, device: 'Metal' },
    {
      ...stage,
      name: 'mac:7070',
      layers: 3,
      device: 'CPU',
      memory: { ...stage.memory, weights: 3e6 },
    },
  ];
  expect(describePlan({ stages }, totals)).toEqual([
    '13 layers on coordinator (Metal, 14.2 GB) + 3 layers on mac:7070 (CPU, 3 MB)',
    '30.5 billion parameters, of which a token goes through 3.3 billion; keeps 98 kB for every token (keys and values as f16)',
  ]);
});

test('a dense model has no smaller number, and a state is kept for every text', () => {
  const dense = { ...totals, activeParameters: 30.5e9, sequenceBytes: 20e6 };
  expect(describePlan({ stages: [] }, dense)[1]).toBe(
    '30.5 billion parameters; keeps 98 kB for every token, and 20 MB for every text (keys and values as f16)',
  );
});
