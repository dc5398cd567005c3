import { describe, expect, test } from 'vitest';
import { stageMs, tokensPerMs, type PipelineCosts } from '../../speculative/cost-model.js';
import { bestSchedule, stepSizes } from '../../speculative/planner.js';
import { plainSchedule, type Schedule } from '../../speculative/schedule.js';
import { Random } from '../support/random.js';
import { simulate } from './support/simulator.js';

/** Costs that grow with the step, a little differently on every stage. */
function randomCosts(random: Random): PipelineCosts {
  const stages = Array.from({ length: random.between(1, 4) }, () => {
    const fixedMs = 1 + 9 * random.share();
    const eachMs = fixedMs * random.share();
    return stepSizes.map((tokens) => ({ tokens, ms: fixedMs + eachMs * (tokens - 1) }));
  });
  const draftMs = random.share() < 0.3 ? 0 : random.share();
  return { stages, hopMs: 6 * random.share() ** 3, draftMs, sharing: 1 };
}

function randomSchedule(random: Random): Schedule {
  const size = () => stepSizes[random.between(0, stepSizes.length - 1)] as number;
  if (random.share() < 0.3) return { mode: 'sync', sizes: [size()], window: 1 };
  return { mode: 'pipelined', sizes: [size(), size(), size()], window: random.between(1, 8) };
}

describe('the cost model', () => {
  test('agrees with a simulation of every step', () => {
    const random = new Random(7);
    const errors: number[] = [];
    for (let i = 0; i < 60; i++) {
      const costs = randomCosts(random);
      const schedule = randomSchedule(random);
      const acceptance = 0.95 * random.share();
      const simulated = simulate(schedule, acceptance, costs, 20_000, random);
      errors.push(Math.abs(Math.log(tokensPerMs(schedule, acceptance, costs) / simulated)));
    }
    // Where drafts are late the model is a little too hopeful.
    expect(Math.max(...errors)).toBeLessThan(0.15);
    expect(errors.filter((error) => error > 0.04).length).toBeLessThan(4);
  });

  test('knows the simple cases', () => {
    const even: PipelineCosts = {
      stages: [[{ tokens: 1, ms: 10 }], [{ tokens: 1, ms: 10 }]],
      hopMs: 0,
      draftMs: 0,
      sharing: 1,
    };
    expect(tokensPerMs(plainSchedule, 0.5, even)).toBeCloseTo(1 / 20);
    // Every right guess saves one of two stages' time.
    const twoInFlight: Schedule = { mode: 'pipelined', sizes: [1], window: 2 };
    expect(tokensPerMs(twoInFlight, 0.8, even)).toBeCloseTo(1 / (10 * (2 - 0.8)));
    expect(tokensPerMs(twoInFlight, 0, even)).toBeCloseTo(1 / 20);
  });

  test('draws straight lines between what was measured, and through zero beyond', () => {
    const costs = [
      { tokens: 1, ms: 10 },
      { tokens: 4, ms: 16 },
    ];
    expect([1, 2, 4, 8].map((tokens) => stageMs(costs, tokens))).toEqual([10, 12, 16, 32]);
    expect(stageMs([], 4)).toBe(0);
  });
});

describe('the best schedule', () => {
  const costs: PipelineCosts = {
    stages: [8, 8].map((ms) => stepSizes.map((tokens) => ({ tokens, ms: ms * (1 + tokens / 8) }))),
    hopMs: 0.2,
    draftMs: 0.4,
    sharing: 1,
  };

  test('is as good as any that the simulation finds', () => {
    const random = new Random(3);
    for (const acceptance of [0.4, 0.6, 0.8, 0.9]) {
      const best = simulate(
        bestSchedule('auto', acceptance, costs),
        acceptance,
        costs,
        20_000,
        random,
      );
      for (const window of [1, 2, 3, 4])
        for (const size of stepSizes) {
          const other: Schedule = { mode: 'pipelined', sizes: [size], window };
          const rate = simulate(other, acceptance, costs, 20_000, random);
          expect(best, JSON.stringify({ acceptance, other })).toBeGreaterThan(0.95 * rate);
        }
    }
  });

  test('is none where drafts are wrong or dear', () => {
    expect(bestSchedule('auto', 0, costs)).toEqual(plainSchedule);
    expect(bestSchedule('auto', 0.9, { ...costs, draftMs: 100 })).toEqual(plainSchedule);
    expect(bestSchedule('off', 0.9, costs)).toEqual(plainSchedule);
  });

  test('is of the kind that was asked for', () => {
    expect(bestSchedule('sync', 0.8, costs)).toMatchObject({ mode: 'sync', window: 1 });
    expect(bestSchedule('pipelined', 0.8, costs).mode).toBe('pipelined');
    expect(bestSchedule('pipelined', 0, costs).mode).toBe('pipelined');
  });

  test('has more in flight over longer links', () => {
    const near = bestSchedule('pipelined', 0.9, costs);
    const far = bestSchedule('pipelined', 0.9, { ...costs, hopMs: 30 });
    const inFlight = ({ window, sizes }: Schedule) => window * (sizes.at(-1) ?? 0);
    expect(inFlight(far)).toBeGreaterThan(inFlight(near));
  });
});
