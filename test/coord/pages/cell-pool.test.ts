import { describe, expect, test } from 'vitest';
import { CellPool } from '../../../coord/pages/cell-pool.js';
import type { Stay } from '../../../coord/pages/stay.js';
import { promptChunks } from '../../../coord/prompt-chunks.js';
import type { Sequence } from '../../../coord/sequence.js';
import { pageCells, type PageCopy } from '../../../step/pages.js';
import { fewRows, wholeTiles } from '../../../step/tiles.js';
import { Random } from '../../support/random.js';

const chunkTokens = 512;

/** A number that depends on another, and on more. */
function mixed(hash: number, ...parts: number[]): number {
  return parts.reduce((h, part) => Math.imul(h ^ part, 0x01000193) ^ (h >>> 13), hash | 0);
}

/**
 * Stages that keep in every cell a number which depends on all tokens up to it, and on all that rounding may depend on:
 * whether the row was one of few, in a whole tile, or in the rest of a step of many.
 */
class RoundingStages {
  readonly #cells: Int32Array;
  rows = 0;

  constructor(cells: number) {
    this.#cells = new Int32Array(cells);
  }

  copy(copies: readonly PageCopy[]): void {
    for (const { from, to, count } of copies) {
      expect(Math.abs(from - to)).toBeGreaterThanOrEqual(count);
      this.#cells.copyWithin(to * pageCells, from * pageCells, (from + count) * pageCells);
    }
  }

  /** A step of tokens [first, end). @returns what the last one chooses */
  step({ text, cells }: Sequence, first: number, end: number): number {
    const rows = end - first;
    expect(end).toBeLessThanOrEqual(cells.length);
    this.rows += rows;
    const [tile, tileEnd] = wholeTiles(first, rows);
    let hash = first === 0 ? 1 : (this.#cells[cells.start + first - 1] as number);
    for (let i = first; i < end; i++) {
      const isTile = rows > fewRows && i - first >= tile && i - first < tileEnd;
      const way = rows <= fewRows ? 0 : isTile ? 1 : 2 + Math.min(rows, 64);
      this.#cells[cells.start + i] = hash = mixed(hash, text.at(i) as number, way);
    }
    return 1000 + ((hash >>> 8) % 50);
  }
}

/** A conversation that computes like the real one, with turns for others between steps. */
class Talk {
  readonly sequence: Sequence;

  constructor(
    readonly pool: CellPool,
    readonly stages: RoundingStages,
    readonly random: Random,
  ) {
    this.sequence = pool.open();
    this.sequence.enter(1);
  }

  async answer(prompt: readonly number[], tokens: number, stop?: AbortSignal): Promise<number[]> {
    const { sequence, pool } = this;
    const answer = stop ?? new AbortController().signal;
    const stay = pool.begin(sequence, Int32Array.from(prompt), { answer });
    const { text } = sequence;
    try {
      while (text.certain < prompt.length + tokens) {
        if (!stay.has(text.certain)) await stay.enter(text.certain);
        const token = await this.#next(stay);
        if (stop?.aborted) break;
        if (token !== undefined) text.confirm(token);
      }
    } catch (error) {
      if (!stop?.aborted) throw error;
    } finally {
      stay[Symbol.dispose]();
    }
    return [...text.tokens.subarray(prompt.length)];
  }

  /** @returns undefined when it has to make room meanwhile */
  async #next(stay: Stay): Promise<number | undefined> {
    const { sequence, random } = this;
    const { certain } = sequence.text;
    let at = sequence.firstMissing(certain);
    let token = 0;
    for (const { first, end, isPrompt } of sequence.compute(at, certain)) {
      const costs = [1, 2].map(() => [
        { tokens: 1, ms: 1 + 20 * random.share() },
        { tokens: 512, ms: 100 + 500 * random.share() },
      ]);
      const few = Array.from({ length: Math.ceil((end - first) / fewRows) }, (_, i) =>
        Math.min(end, first + (i + 1) * fewRows),
      );
      const ends = isPrompt ? promptChunks({ first, end }, costs, chunkTokens) : few;
      for (const to of ends) {
        token = this.stages.step(sequence, at, to);
        at = to;
        const turns = random.between(0, 3);
        for (let i = 0; i < turns; i++) await Promise.resolve();
        if (stay.signal.aborted) return undefined;
        sequence.computed.at = to;
      }
    }
    return token;
  }
}

function newPool(pages: number, context = pages * pageCells) {
  const stages = new RoundingStages(pages * pageCells);
  const pool = new CellPool({ pages, context, copy: (copies) => stages.copy(copies) });
  return { stages, pool };
}

/** The answer of a text that nobody disturbs, in cells that nobody has used. */
async function alone(turns: readonly (readonly [number[], number])[]): Promise<number[][]> {
  const { pool, stages } = newPool(40);
  const talk = new Talk(pool, stages, new Random(7));
  const answers: number[][] = [];
  for (const [prompt, tokens] of turns) answers.push(await talk.answer(prompt, tokens));
  return answers;
}

function words(random: Random, count: number): number[] {
  return Array.from({ length: count }, () => random.between(0, 999));
}

describe('a pool of cells', () => {
  test('gives warm texts as cold ones', async () => {
    const random = new Random(1);
    const { pool, stages } = newPool(64);
    const beginnings = [words(random, 1000), words(random, 300), words(random, 64)];
    let reused = 0;
    for (let i = 0; i < 150; i++) {
      const beginning = beginnings[random.between(0, 2)] as number[];
      const kept =
        random.between(0, 3) === 0 ? beginning.length : random.between(1, beginning.length);
      const prompt = [...beginning.slice(0, kept), ...words(random, random.between(0, 200))];
      const talk = new Talk(pool, stages, random);
      const answer = await talk.answer(prompt, 3);
      pool.close(talk.sequence);
      expect(await alone([[prompt, 3]])).toEqual([answer]);
      reused = pool.stats.reusedTokens;
    }
    expect(reused).toBeGreaterThan(20_000);
  });

  test('computes a beginning that eight have in common once', async () => {
    const random = new Random(2);
    const { pool, stages } = newPool(64);
    const beginning = words(random, 1000);
    for (let i = 0; i < 8; i++)
      await new Talk(pool, stages, random).answer([...beginning, ...words(random, 100)], 4);
    // The first computes all, the others what is behind the last tile of it, and the answers.
    expect(stages.rows).toBe(1100 + 7 * (1100 - 960) + 8 * 3);
  });

  test('goes on with interleaved conversations in their places', async () => {
    const random = new Random(3);
    const { pool, stages } = newPool(64);
    const talks = [1, 2, 3].map(() => ({
      talk: new Talk(pool, stages, random),
      text: words(random, 200),
    }));
    let expected = 0;
    for (let turn = 0; turn < 10; turn++)
      for (const each of talks) {
        const before = each.text.length;
        if (turn > 0) each.text.push(...words(random, 30));
        const answer = await each.talk.answer(each.text, 20);
        // The last token of an answer was not computed.
        expected += (turn > 0 ? each.text.length - before + 1 : 200) + 19;
        each.text.push(...answer);
      }
    expect(stages.rows).toBe(expected);
  });

  test('in which texts make room for older ones gives the texts of one in which none has to', async () => {
    const random = new Random(4);
    let preemptions = 0;
    for (let round = 0; round < 12; round++) {
      const { pool, stages } = newPool(6);
      const beginning = words(random, 150);
      await Promise.all(
        Array.from({ length: 6 }, async () => {
          const talk = new Talk(pool, stages, random);
          const turns: [number[], number][] = [];
          const answers: number[][] = [];
          let text: number[] = [];
          for (let turn = 0; turn < 3; turn++) {
            text = [
              ...text,
              ...(turn === 0 ? beginning : []),
              ...words(random, random.between(5, 150)),
            ];
            turns.push([text, random.between(20, 150)]);
            const answer = await talk.answer(...(turns.at(-1) as [number[], number]));
            answers.push(answer);
            text = [...text, ...answer];
          }
          pool.close(talk.sequence);
          expect(await alone(turns)).toEqual(answers);
        }),
      );
      preemptions += pool.stats.preemptions;
      expect(pool.stats.reserved).toBe(0);
    }
    expect(preemptions).toBeGreaterThan(20);
  });

  test('reserves no more than a page beyond what 200 texts have', async () => {
    const random = new Random(5);
    const { pool, stages } = newPool(4000);
    const check = () => {
      const { reserved, used } = pool.stats;
      expect(reserved).toBeLessThanOrEqual(1.05 * used + 200 * pageCells);
    };
    await Promise.all(
      Array.from({ length: 200 }, async () => {
        const talk = new Talk(pool, stages, random);
        await talk.answer(words(random, random.between(1, 4000)), random.between(1, 300));
        check();
      }),
    );
    expect(pool.stats.reserved).toBe(0);
  });

  test('leaks nothing over 10,000 short texts, of which some are given up', async () => {
    const random = new Random(6);
    const { pool, stages } = newPool(24);
    for (let i = 0; i < 1250; i++)
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          const talk = new Talk(pool, stages, random);
          const stop = new AbortController();
          if (random.between(0, 9) === 0) void Promise.resolve().then(() => stop.abort());
          await talk.answer(words(random, random.between(1, 40)), 3, stop.signal);
          pool.close(talk.sequence);
        }),
      );
    const { reserved, remembered } = pool.stats;
    expect(reserved).toBe(0);
    expect(remembered).toBeLessThanOrEqual(24 * pageCells);
    const talk = new Talk(pool, stages, random);
    expect(await talk.answer(words(random, 24 * pageCells - 10), 10)).toHaveLength(10);
  });
});
