import { describe, expect, test } from 'vitest';
import { Conversation } from '../../coord/conversation.js';
import type { CoordinatorError } from '../../coord/errors.js';
import { FixedPlaces } from '../../coord/pages/fixed-places.js';
import { Pipeline } from '../../coord/pipeline.js';
import { greedy } from '../../step/sampling.js';
import { wantedRows, type Step } from '../../step/step.js';
import { testBatcher } from '../support/batcher.js';

const context = 6400;

/** A pipeline whose only stage counts on: the token after n is n + 1. Counts the rows that it computes. */
class CountingPipeline {
  readonly pipeline = new Pipeline();
  readonly cells = new FixedPlaces({ context, cellsEach: context, conversations: 1 });
  readonly batcher = testBatcher(this.pipeline, 16);
  rows = 0;
  #epoch = 0;

  constructor() {
    this.rearrange();
  }

  rearrange(): void {
    const epoch = ++this.#epoch;
    this.pipeline.use({ epoch, submit: (step) => this.#compute(step), cancel: () => undefined });
    this.pipeline.resume();
  }

  conversation(): Conversation {
    const { pipeline, batcher, cells } = this;
    return new Conversation({ pipeline, batcher, cells, chunkTokens: 16 });
  }

  #compute(step: Step): void {
    setImmediate(() => {
      const results = step.segments.map((segment) => {
        this.rows += segment.tokens.length;
        const choices = wantedRows(segment).map((row) => (segment.tokens[row] as number) + 1);
        return { sequence: segment.sequence, choices };
      });
      this.pipeline.finished(step, results);
    });
  }
}

function answer(conversation: Conversation, prompt: readonly number[], maxTokens: number) {
  const options = { sampling: greedy, maxTokens, isEnd: () => false };
  return conversation.generate(Int32Array.from(prompt), options);
}

async function all(generation: AsyncGenerator<number, unknown>): Promise<number[]> {
  const tokens: number[] = [];
  for await (const token of generation) tokens.push(token);
  return tokens;
}

function codeOf(error: unknown): string {
  return (error as CoordinatorError).code;
}

describe('a conversation', () => {
  test('that is closed gives its cells back once, and refuses to answer', async () => {
    const counting = new CountingPipeline();
    const conversation = counting.conversation();
    await all(answer(conversation, [1, 2], 3));
    conversation.close();
    conversation.close();
    counting.conversation();
    expect(() => counting.conversation()).toThrow(/conversations are taken/);
    const refused = await answer(conversation, [1], 1).next().catch(codeOf);
    expect(refused).toBe('conversation');
    expect(() => conversation.reset()).toThrow(/is closed/);
  });

  test('answers one question at a time', async () => {
    const conversation = new CountingPipeline().conversation();
    const first = answer(conversation, [1, 2], 5);
    await first.next();
    expect(await answer(conversation, [1], 1).next().catch(codeOf)).toBe('conversation');
    expect(() => conversation.reset()).toThrow(/is answering/);
    expect(await all(first)).toEqual([4, 5, 6, 7]);
    expect(await all(answer(conversation, [1], 2))).toEqual([2, 3]);
  });

  test('that is closed while it answers ends the answer, then gives its cells back', async () => {
    const counting = new CountingPipeline();
    const conversation = counting.conversation();
    const generation = answer(conversation, [1], 10_000);
    await generation.next();
    conversation.close();
    expect(() => counting.conversation()).toThrow(/conversations are taken/);
    let last = await generation.next();
    while (!last.done) last = await generation.next();
    expect(last.value.finishReason).toBe('cancelled');
    expect(counting.conversation().computedTokens).toBe(0);
  });

  test('whose reader leaves keeps what was read, and goes on from there', async () => {
    const counting = new CountingPipeline();
    const conversation = counting.conversation();
    for await (const token of answer(conversation, [1, 2, 3], 1000)) if (token === 8) break;
    expect([...conversation.text.tokens]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const before = counting.rows;
    expect(await all(answer(conversation, [1, 2, 3, 4, 5, 6, 7, 8, 9], 2))).toEqual([10, 11]);
    // A new token and the answer, and what was on its way, or had not begun, when the reader left.
    expect(counting.rows - before).toBeLessThanOrEqual(4);
  });

  test('is computed ahead of a slow reader up to a bound, which its speed does not count', async () => {
    const counting = new CountingPipeline();
    const conversation = counting.conversation();
    const generation = answer(conversation, [0], 2000);
    await generation.next();
    // Whoever does not read for long finds that the pipeline has stopped.
    let rows = -1;
    while (rows !== counting.rows) {
      rows = counting.rows;
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(rows).toBeGreaterThan(100);
    expect(rows).toBeLessThan(500);
    expect((await all(generation)).at(-1)).toBe(2000);
  });

  test('goes on with the same text when the stages are rearranged', async () => {
    const counting = new CountingPipeline();
    const conversation = counting.conversation();
    const tokens: number[] = [];
    for await (const token of answer(conversation, [1, 2, 3], 600)) {
      tokens.push(token);
      if (token % 150 === 0) counting.rearrange();
      if (token === 400) {
        counting.pipeline.suspend();
        setTimeout(() => counting.rearrange(), 20);
      }
    }
    expect(tokens).toEqual(Array.from({ length: 600 }, (_, i) => 4 + i));
  });

  test('that waits for a route can be stopped, and fails when there will be none', async () => {
    const counting = new CountingPipeline();
    counting.pipeline.suspend();
    const controller = new AbortController();
    const options = { sampling: greedy, maxTokens: 5, isEnd: () => false };
    const conversation = counting.conversation();
    const waiting = conversation.generate(Int32Array.of(1), {
      ...options,
      signal: controller.signal,
    });
    const next = waiting.next();
    controller.abort();
    expect(await next).toMatchObject({ done: true, value: { finishReason: 'cancelled' } });

    const failing = answer(conversation, [1], 5).next();
    counting.pipeline.break(new Error('no worker is left'));
    await expect(failing).rejects.toThrow('no worker is left');
  });
});
