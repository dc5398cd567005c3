import { describe, expect, test } from 'vitest';
import { promptChunks, promptMs, shortChunks, typicalCosts } from '../../coord/prompt-chunks.js';
import type { StageCosts } from '../../speculative/cost-model.js';
import { Random } from '../support/random.js';

/** Costs of stages by what a step and each of its tokens cost, and what every cell costs a token. */
function stage(fixedMs: number, tokenMs: number, cellMs = 0): StageCosts {
  return [1, 64, 512].map((tokens) => ({
    tokens,
    ms: fixedMs + tokenMs * tokens,
    msPerCell: cellMs * tokens,
  }));
}

/** Chunks of one size, on the grid; those at the ends take in what would be less than a tile. */
function equal(first: number, end: number, chunk: number): number[] {
  const ends: number[] = [];
  for (let at = Math.floor(first / 64) * 64 + chunk; at < end; at += chunk) ends.push(at);
  return [...ends.filter((at) => at - first >= 64 && end - at >= 64), end];
}

/** Rows of every chunk. */
function rowsOf(first: number, ends: readonly number[]): number[] {
  return ends.map((stop, i) => stop - (ends[i - 1] ?? first));
}

describe('promptChunks', () => {
  const cases = [100, 300, 1024, 5000].flatMap((end) =>
    [2, 3, 5].flatMap((stages) => [1, 8, 60].map((fixedMs) => ({ end, stages, fixedMs }))),
  );
  test.each(cases)('beats all equal chunks: $end tokens, $stages stages, $fixedMs', (c) => {
    for (const first of [0, 17]) {
      const costs = new Array<StageCosts>(c.stages).fill(stage(c.fixedMs, 1, 0.0005));
      const part = { first, end: c.end };
      const chosen = promptMs(part, promptChunks(part, costs, 512), costs);
      const others = [1, 2, 3, 4, 5, 6, 7, 8]
        .map((tiles) => equal(first, c.end, 64 * tiles))
        .filter((ends) => Math.max(...rowsOf(first, ends)) <= 512)
        .map((ends) => promptMs(part, ends, costs));
      expect(chosen).toBeLessThanOrEqual(Math.min(...others) * 1.01);
    }
  });

  test.each([
    { first: 0, end: 5000, most: 512 },
    { first: 100, end: 1000, most: 512 },
    { first: 63, end: 130, most: 200 },
    { first: 64, end: 4000, most: 100 },
  ])('ends at tiles of the text: $first to $end, $most', ({ first, end, most }) => {
    for (const costs of [
      [typicalCosts],
      [stage(8, 1), stage(1, 3)],
      [stage(0, 1, 0.01), stage(9, 1)],
    ]) {
      const ends = promptChunks({ first, end }, costs, most);
      expect(ends.at(-1)).toBe(end);
      expect(ends.slice(0, -1).every((stop) => stop % 64 === 0)).toBe(true);
      const rows = rowsOf(first, ends);
      expect(Math.min(...rows)).toBeGreaterThanOrEqual(most < 128 ? 1 : Math.min(64, end - first));
      expect(Math.max(...rows)).toBeLessThanOrEqual(most);
    }
  });

  test('leaves short prompts and single stages whole, and respects the limit', () => {
    const two = [typicalCosts, typicalCosts];
    expect(promptChunks({ first: 30, end: 90 }, two, 512)).toEqual([90]);
    expect(promptChunks({ first: 0, end: 1100 }, [typicalCosts], 512)).toEqual([512, 1024, 1100]);
    expect(promptChunks({ first: 0, end: 40 }, two, 16)).toEqual([16, 32, 40]);
  });

  test('takes equal times, not equal rows, where attention grows', () => {
    const costs = [stage(10, 1, 0.002), stage(10, 1, 0.002)];
    const ends = promptChunks({ first: 0, end: 4096 }, costs, 512);
    const rows = rowsOf(0, ends);
    expect(rows[0]).toBeGreaterThan(rows.at(-2) as number);
  });

  test('has a small chunk first where the second stage is what others wait for, and last where it is the first', () => {
    const rows = (costs: StageCosts[]) => {
      return rowsOf(0, promptChunks({ first: 0, end: 1900 }, costs, 512));
    };
    const slowLast = rows([stage(30, 0.5), stage(60, 1)]);
    expect(slowLast[0]).toBeLessThan(Math.max(...slowLast));
    const slowFirst = rows([stage(60, 1), stage(30, 0.5)]);
    expect(slowFirst.at(-1)).toBeLessThan(Math.max(...slowFirst));
  });
});

describe('a prompt that is read while others decode', () => {
  const two = [typicalCosts, typicalCosts];

  test.each([
    { first: 0, end: 5000, most: 512 },
    { first: 10, end: 300, most: 512 },
    { first: 63, end: 191, most: 128 },
    { first: 640, end: 700, most: 512 },
  ])('has short chunks that end at tiles: $first to $end, $most', ({ first, end, most }) => {
    const ends = shortChunks({ first, end }, two, most);
    expect(ends.at(-1)).toBe(end);
    expect(ends.slice(0, -1).every((stop) => stop % 64 === 0)).toBe(true);
    const rows = rowsOf(first, ends);
    expect(Math.min(...rows)).toBeGreaterThanOrEqual(Math.min(64, end - first));
    expect(Math.max(...rows)).toBeLessThanOrEqual(128);
  });

  test('has longer ones where reading the weights takes longer than computing', () => {
    const costs = [stage(100, 0.1)];
    expect(shortChunks({ first: 0, end: 1000 }, costs, 512).slice(0, 3)).toEqual([128, 256, 384]);
    expect(shortChunks({ first: 0, end: 40 }, two, 16)).toEqual([16, 32, 40]);
  });

  test('can be cut anew after any of its chunks', () => {
    const cuts = [promptChunks, shortChunks];
    const random = new Random(3);
    for (let prompt = 0; prompt < 300; prompt++) {
      const first = random.between(0, 200);
      const end = first + random.between(1, 2000);
      const ends: number[] = [];
      for (let at = first; at < end; at = ends.at(-1) as number) {
        const next = cuts[random.between(0, 1)]?.({ first: at, end }, two, 512) ?? [];
        ends.push(...next.slice(0, random.between(1, 3)));
      }
      expect(ends.slice(0, -1).every((stop) => stop % 64 === 0)).toBe(true);
      expect(Math.min(...rowsOf(first, ends))).toBeGreaterThanOrEqual(Math.min(64, end - first));
    }
  });
});
