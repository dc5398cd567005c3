import { expect, test } from 'vitest';
import { AcceptanceEstimate } from '../../speculative/acceptance.js';
import { tokensPerMs } from '../../speculative/cost-model.js';
import { SchedulePlanner, stepSizes } from '../../speculative/planner.js';
import { plainSchedule } from '../../speculative/schedule.js';
import { SpeedMeter } from '../../speculative/speed-meter.js';

const costs = {
  stages: [10, 10].map((ms) => stepSizes.map((tokens) => ({ tokens, ms: ms * (1 + tokens / 6) }))),
  hopMs: 0.1,
  sharing: 1,
  draftMs: 0.1,
};

test('the acceptance follows what is judged, and forgets', () => {
  const acceptance = new AcceptanceEstimate();
  expect(acceptance.rate).toBe(0.5);
  for (let i = 0; i < 200; i++) acceptance.add(i % 5 !== 0);
  expect(acceptance.rate).toBeCloseTo(0.8, 1);
  for (let i = 0; i < 500; i++) acceptance.add(false);
  expect(acceptance.rate).toBeLessThan(0.02);
});

test('auto turns itself off when drafts turn bad, and on again', () => {
  const planner = new SchedulePlanner('auto', costs);
  for (let i = 0; i < 100; i++) planner.acceptance.add(true);
  expect(planner.schedule.mode).toBe('pipelined');
  expect(planner.promisedSpeedup).toBeGreaterThan(1.5);
  for (let i = 0; i < 400; i++) planner.acceptance.add(false);
  expect(planner.schedule.mode).toBe('off');
  expect(planner.promisedSpeedup).toBe(1);
  for (let i = 0; i < 100; i++) planner.acceptance.add(true);
  expect(planner.schedule.mode).toBe('pipelined');
});

test('better drafts make longer steps', () => {
  const planner = new SchedulePlanner('pipelined', costs);
  const size = () => planner.schedule.sizes.at(-1) as number;
  for (let i = 0; i < 300; i++) planner.acceptance.add(i % 3 === 0);
  const before = size();
  for (let i = 0; i < 300; i++) planner.acceptance.add(i % 20 !== 0);
  expect(size()).toBeGreaterThan(before);
});

test('auto believes what it sees more than what was promised, and tries again', () => {
  const planner = new SchedulePlanner('auto', costs);
  for (let i = 0; i < 100; i++) planner.acceptance.add(true);
  const plainMs = 1 / tokensPerMs(plainSchedule, 1, costs);
  expect(planner.schedule.mode).toBe('pipelined');
  // Both ways of speculating are half as fast as decoding without.
  const observe = () => {
    const { mode } = planner.schedule;
    planner.observe(mode, 32, 32 * plainMs * (mode === 'off' ? 1 : 2));
    return mode;
  };
  const modes = Array.from({ length: 1000 }, observe);
  expect(modes.filter((mode) => mode === 'off').length).toBeGreaterThan(700);
  expect(new Set(modes.slice(100)).size).toBeGreaterThan(1);
  // From now on everything takes twice as long: that is no reason.
  const slower = () => {
    const { mode } = planner.schedule;
    planner.observe(mode, 32, 64 * plainMs * (mode === 'off' ? 1 : 0.4));
    return mode;
  };
  expect(Array.from({ length: 200 }, slower).at(-1)).not.toBe('off');
});

test('the speed of a text is measured over tokens of one mode, without those that warm up', () => {
  const seen: unknown[][] = [];
  const planner = new SchedulePlanner('pipelined', costs);
  planner.observe = (...args) => void seen.push(args);
  const meter = new SpeedMeter(planner);
  for (let i = 0; i <= 96; i++) meter.add(1, i <= 16 ? 500 * i : 8000 + 10 * (i - 16));
  expect(seen).toEqual([
    ['pipelined', 32, 320],
    ['pipelined', 32, 320],
  ]);
});

test('a text that has grown is planned anew, by what attention costs then', () => {
  const stages = [1, 2].map(() =>
    // Weights are read once for a step, but the text's cells for each of its tokens.
    stepSizes.map((tokens) => ({ tokens, ms: 10 + tokens, msPerCell: 0.01 * tokens })),
  );
  const planner = new SchedulePlanner('auto', { stages, hopMs: 0.1, sharing: 1, draftMs: 0.1 });
  for (let i = 0; i < 300; i++) planner.acceptance.add(i % 5 !== 0);
  planner.reads(10);
  const [short, promise] = [planner.schedule, planner.promisedSpeedup];
  planner.reads(100);
  expect(planner.schedule).toBe(short);
  planner.reads(8000);
  expect(planner.schedule).not.toEqual(short);
  expect(planner.promisedSpeedup).toBeLessThan(promise);
});

test('costs of another route make another plan, without the record of the old one', () => {
  const planner = new SchedulePlanner('auto', costs);
  for (let i = 0; i < 100; i++) planner.acceptance.add(true);
  const promise = planner.promisedSpeedup;
  for (let i = 0; i < 9; i++) planner.observe(planner.schedule.mode, 32, 1e6);
  expect(planner.promisedSpeedup).toBeLessThan(promise);
  planner.use(costs);
  expect(planner.promisedSpeedup).toBe(promise);
  planner.use({ ...costs, draftMs: 1000 });
  expect(planner.schedule.mode).toBe('off');
});

test('a fixed schedule stays', () => {
  const fixed = { mode: 'sync', sizes: [3], window: 1 } as const;
  expect(new SchedulePlanner('auto', costs, () => fixed).schedule).toBe(fixed);
});

test('few sequences speculate where drafts are good, and more decode in a batch', () => {
  const planner = new SchedulePlanner('auto', costs);
  for (let i = 0; i < 300; i++) planner.acceptance.add(true);
  expect(planner.paysFor(2)).toBe(true);
  expect(planner.paysFor(16)).toBe(false);
  const most = [1, 2, 3, 4, 5, 6, 7, 8].filter((sequences) => planner.paysFor(sequences));
  expect(most).toEqual(most.map((_, i) => i + 1));
  for (let i = 0; i < 300; i++) planner.acceptance.add(i % 2 === 0);
  expect(planner.paysFor(2)).toBe(false);
  expect(planner.paysFor(1)).toBe(true);
});

test('with a fixed schedule, or none, a sequence speculates alone', () => {
  const fixed = new SchedulePlanner('auto', costs, () => ({
    mode: 'pipelined',
    sizes: [4],
    window: 4,
  }));
  const off = new SchedulePlanner('off', costs);
  for (const planner of [fixed, off]) {
    for (let i = 0; i < 300; i++) planner.acceptance.add(true);
    expect(planner.paysFor(1)).toBe(true);
    expect(planner.paysFor(2)).toBe(false);
  }
});
