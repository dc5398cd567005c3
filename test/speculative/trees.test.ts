import { describe, expect, test } from 'vitest';
import { tokensPerMs } from '../../speculative/cost-model.js';
import type { Schedule } from '../../speculative/schedule.js';
import { Random } from '../support/random.js';
import { oracleGuesses } from './support/measured-guesses.js';
import { fastestOf, graphicsSteps, processorSteps, shapes } from './support/tree-figures.js';
import { simulateTrees, type TreeCosts } from './support/tree-simulator.js';

describe('the simulation of trees', () => {
  test('agrees with the cost model about chains', () => {
    for (const stages of [1, 2, 4])
      for (const draft of [0, 0.05])
        for (const [rows, window] of [
          [4, 1],
          [4, 2],
          [1, 4],
          [8, 3],
        ] as const) {
          const costs: TreeCosts = { stages, steps: processorSteps, hop: 0.03, draft };
          const policy = { ...shapes.chain, rows: [rows], window };
          const { confidences } = oracleGuesses(0.7, 0);
          const simulated = simulateTrees(policy, confidences, costs, 20_000, new Random(2));
          const ms = processorSteps.map((step) => ({ tokens: step.rows, ms: step.units }));
          const schedule: Schedule = {
            mode: window === 1 ? 'sync' : 'pipelined',
            sizes: [rows],
            window,
          };
          const modelled = tokensPerMs(schedule, 0.7, {
            stages: new Array<typeof ms>(stages).fill(ms),
            hopMs: costs.hop,
            draftMs: draft,
            sharing: 1,
          });
          expect(Math.abs(simulated / modelled - 1)).toBeLessThan(0.04);
        }
  });

  test('brings, one by one, what the probabilities of the likeliest guesses add up to', () => {
    const guesses = oracleGuesses(0.6, 0.5);
    const right = guesses.confidences[0]?.right ?? [];
    let level = [1];
    const all: number[] = [];
    for (let depth = 0; depth < 8; depth++) {
      level = level.flatMap((probability) => right.map((share) => probability * share));
      all.push(...level.filter((probability) => probability > 0.001));
      level = level.filter((probability) => probability > 0.001);
    }
    for (const rows of [4, 8, 16]) {
      const likeliest = all.sort((a, b) => b - a).slice(0, rows - 1);
      const tokens = likeliest.reduce((sum, probability) => sum + probability, 1);
      const steps = [{ rows, units: 1 }];
      const costs: TreeCosts = { stages: 1, steps, hop: 0, draft: 0 };
      const policy = { ...shapes.tree, rows: [rows], window: 1 };
      const rate = simulateTrees(policy, guesses.confidences, costs, 50_000, new Random(4));
      expect(Math.abs(rate / tokens - 1)).toBeLessThan(0.02);
    }
  });
});

describe('why drafts are chains: at best, trees gain', () => {
  const gain = (acceptance: number, second: number, costs: TreeCosts) => {
    const guesses = oracleGuesses(acceptance, second);
    return (
      fastestOf(shapes.tree, guesses, costs).rate / fastestOf(shapes.chain, guesses, costs).rate
    );
  };

  test('some percent on two processors, where four rows are what a step should have', () => {
    const costs: TreeCosts = { stages: 2, steps: processorSteps, hop: 0.03, draft: 0.02 };
    expect(gain(0.6, 0.3, costs)).toBeLessThan(1.07);
    expect(gain(0.6, 0.5, costs)).toBeLessThan(1.12);
    expect(gain(0.8, 0.5, costs)).toBeLessThan(1.03);
  });

  test('a tenth and more where rows are nearly free, unless drafts cost something', () => {
    const costs: TreeCosts = { stages: 2, steps: graphicsSteps, hop: 0.03, draft: 0.02 };
    expect(gain(0.6, 0.5, costs)).toBeGreaterThan(1.1);
    expect(gain(0.8, 0.3, costs)).toBeLessThan(1.05);
    expect(gain(0.6, 0.3, { ...costs, draft: 0.2 })).toBeLessThan(1.06);
  });
});
