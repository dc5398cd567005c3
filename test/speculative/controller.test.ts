import { describe, expect, test } from 'vitest';
import { SpeculationController, type ControllerOptions } from '../../speculative/controller.js';
import { TokenText } from '../../step/token-text.js';
import type { Schedule } from '../../speculative/schedule.js';

const end = 99;

/** A controller whose text is [10, 11]; drafts and results are given by hand. */
function start(schedule: Schedule, options: Partial<ControllerOptions> = {}) {
  const judged: boolean[] = [];
  const text = new TokenText([10, 11]);
  const controller = new SpeculationController({
    text,
    maxTokens: 20,
    cells: 64,
    maxStepTokens: 16,
    isEnd: (token) => token === end,
    schedule: () => schedule,
    onJudged: (accepted) => judged.push(accepted),
    ...options,
  });
  /** Gives all drafts that are wanted now, from a list. */
  const draft = (...tokens: number[]) => {
    const request = controller.wantedDrafts();
    if (!request) throw new Error('no drafts are wanted');
    tokens.every((token, i) => controller.addDraft(request, i, token));
    controller.endDrafts(request, tokens.length);
    return request;
  };
  const take = () => {
    const step = controller.takeStep();
    return step && { id: step.id, first: step.first, count: step.count, follows: step.follows };
  };
  const certain = () => [...text.tokens.subarray(0, text.certain)];
  return { controller, judged, draft, take, certain };
}

describe('in sync mode', () => {
  const schedule: Schedule = { mode: 'sync', sizes: [4], window: 1 };

  test('waits for drafts, then verifies them in one step', () => {
    const { controller, draft, take, judged } = start(schedule);
    expect(take()).toBeUndefined();
    expect(draft(12, 13, 14)).toMatchObject({ count: 3, after: 2 });
    expect(take()).toEqual({ id: 1, first: 1, count: 4, follows: 0 });
    expect(take()).toBeUndefined();
    expect(controller.wantedDrafts()).toBeUndefined();
    // All drafts are right, and the last choice comes on top.
    expect(controller.finished(1, [12, 13, 14, 15])).toEqual({
      tokens: [12, 13, 14, 15],
      cancelled: [],
    });
    expect(judged).toEqual([true, true, true]);
    expect(controller.computed).toBe(5);
    expect(controller.wantedDrafts()).toMatchObject({ count: 3, after: 6 });
  });

  test('keeps what is right and takes the choice for what is not', () => {
    const { controller, draft, take, judged, certain } = start(schedule);
    draft(12, 50, 14);
    take();
    expect(controller.finished(1, [12, 13, 77, 78]).tokens).toEqual([12, 13]);
    expect(judged).toEqual([true, false]);
    expect(certain()).toEqual([10, 11, 12, 13]);
    expect(controller.computed).toBe(3);
  });

  test('goes on without drafts where there are none', () => {
    const { controller, draft, take } = start(schedule);
    draft();
    expect(take()).toMatchObject({ first: 1, count: 1 });
    expect(controller.finished(1, [12]).tokens).toEqual([12]);
    expect(controller.wantedDrafts()).toMatchObject({ count: 3, after: 3 });
  });
});

describe('in a pipeline', () => {
  const schedule: Schedule = { mode: 'pipelined', sizes: [1, 2], window: 3 };

  function fill() {
    const started = start(schedule);
    const { draft, take } = started;
    expect(take()).toEqual({ id: 1, first: 1, count: 1, follows: 0 });
    draft(12, 13);
    expect(take()).toEqual({ id: 2, first: 2, count: 2, follows: 1 });
    draft(14, 15);
    expect(take()).toEqual({ id: 3, first: 4, count: 2, follows: 2 });
    draft(16, 17);
    expect(take()).toBeUndefined();
    return started;
  }

  test('drafts on while steps are under way', () => {
    const { controller, take } = fill();
    expect(controller.wantedDrafts()).toBeUndefined();
    expect(controller.finished(1, [12])).toEqual({ tokens: [12], cancelled: [] });
    expect(take()).toEqual({ id: 4, first: 6, count: 2, follows: 3 });
    expect(controller.finished(2, [13, 14])).toEqual({ tokens: [13, 14], cancelled: [] });
  });

  test('cancels what builds on a wrong guess, and goes on from the choice', () => {
    const { controller, take, certain } = fill();
    controller.finished(1, [12]);
    expect(controller.finished(2, [13, 40])).toEqual({ tokens: [13, 40], cancelled: [3] });
    expect(controller.counts).toEqual({ drafted: 3, accepted: 2, cancelledSteps: 1 });
    expect(controller.computed).toBe(4);
    expect(take()).toEqual({ id: 4, first: 4, count: 1, follows: 0 });
    // The cancelled step's result comes late.
    expect(controller.finished(3, [1, 2])).toEqual({ tokens: [], cancelled: [] });
    expect(certain()).toEqual([10, 11, 12, 13, 40]);
  });

  test('takes results in any order', () => {
    const { controller } = fill();
    expect(controller.finished(3, [15, 16]).tokens).toEqual([]);
    expect(controller.finished(2, [13, 14]).tokens).toEqual([]);
    expect(controller.finished(1, [12]).tokens).toEqual([12, 13, 14, 15, 16]);
  });

  test('compares drafts that come after the choice', () => {
    const { controller, take, judged } = start(schedule);
    take();
    const request = controller.wantedDrafts();
    if (!request) throw new Error('no drafts are wanted');
    expect(controller.finished(1, [12]).tokens).toEqual([12]);
    expect(controller.addDraft(request, 0, 12)).toBe(true);
    expect(controller.addDraft(request, 1, 13)).toBe(true);
    expect(judged).toEqual([true]);
    expect(take()).toEqual({ id: 2, first: 2, count: 2, follows: 0 });
  });

  test('discards drafts that continue what was never written', () => {
    const { controller, take, judged, certain } = start(schedule);
    take();
    const request = controller.wantedDrafts();
    if (!request) throw new Error('no drafts are wanted');
    controller.finished(1, [40]);
    expect(controller.addDraft(request, 0, 12)).toBe(false);
    expect(controller.addDraft(request, 1, 13)).toBe(false);
    expect(judged).toEqual([false]);
    expect(certain()).toEqual([10, 11, 40]);
    // Without waiting for better ones, as after any wrong guess.
    expect(take()).toEqual({ id: 2, first: 2, count: 1, follows: 0 });
  });
});

describe('ends', () => {
  const schedule: Schedule = { mode: 'pipelined', sizes: [4], window: 2 };

  test('at a token that ends the text, whatever was guessed behind it', () => {
    const { controller, draft, take } = start(schedule);
    draft(12, 13, 14);
    take();
    draft(15, 16, 17, 18);
    take();
    expect(controller.finished(1, [12, end, 3, 4])).toEqual({ tokens: [12, end], cancelled: [2] });
    expect(controller.ended).toBe(true);
    expect(take()).toBeUndefined();
    expect(controller.wantedDrafts()).toBeUndefined();
    expect(controller.computed).toBe(3);
  });

  test('does not submit a guessed end, nor guess beyond it', () => {
    const { controller, take } = start(schedule);
    const request = controller.wantedDrafts();
    if (!request) throw new Error('no drafts are wanted');
    expect(controller.addDraft(request, 0, 12)).toBe(true);
    expect(controller.addDraft(request, 1, end)).toBe(false);
    expect(controller.wantedDrafts()).toBeUndefined();
    expect(take()).toMatchObject({ first: 1, count: 2 });
    expect(controller.finished(1, [12, end]).tokens).toEqual([12, end]);
    expect(controller.ended).toBe(true);
  });

  test('computes no more than is wanted', () => {
    const { controller, draft, take } = start(schedule, { maxTokens: 2 });
    expect(draft(12)).toMatchObject({ count: 1 });
    expect(take()).toMatchObject({ first: 1, count: 2 });
    expect(controller.wantedDrafts()).toBeUndefined();
    expect(controller.finished(1, [12, 13]).tokens).toEqual([12, 13]);
    expect(controller.ended).toBe(true);
    expect(start(schedule, { maxTokens: 0 }).controller.ended).toBe(true);
  });

  test('where the cells are full', () => {
    const { controller, draft, take } = start(schedule, { cells: 3 });
    draft(12);
    expect(take()).toMatchObject({ first: 1, count: 2 });
    expect(controller.finished(1, [12, 13]).tokens).toEqual([12, 13]);
    expect(controller.ended).toBe(true);
    expect(controller.computed).toBe(3);
  });

  test('when told to stop', () => {
    const { controller, draft, take } = start(schedule);
    draft(12, 13, 14);
    take();
    expect(controller.stop()).toEqual([1]);
    expect(controller.computed).toBe(1);
    expect(controller.finished(1, [12, 13, 14, 15]).tokens).toEqual([]);
  });
});

describe('without speculation', () => {
  test('computes token by token, and guesses one now and then to see whether it would pay', () => {
    const { controller, take, judged } = start(
      { mode: 'off', sizes: [1], window: 1 },
      { maxTokens: 60 },
    );
    let probes = 0;
    for (let token = 12; token < 52; token++) {
      const step = take();
      expect(step).toMatchObject({ first: token - 11, count: 1 });
      const request = controller.wantedDrafts();
      if (request) {
        probes++;
        expect(request.count).toBe(1);
        controller.addDraft(request, 0, token);
      }
      expect(take()).toBeUndefined();
      expect(controller.finished(step?.id ?? 0, [token]).tokens).toEqual([token]);
    }
    expect(probes).toBe(2);
    expect(judged).toEqual([true, true]);
  });

  test('is what is left when drafts are given up', () => {
    const { controller, take } = start({ mode: 'sync', sizes: [8], window: 1 });
    expect(take()).toBeUndefined();
    controller.stopDrafting();
    expect(take()).toMatchObject({ first: 1, count: 1 });
    expect(controller.wantedDrafts()).toBeUndefined();
  });
});
