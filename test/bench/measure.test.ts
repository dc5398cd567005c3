import { expect, test } from 'vitest';
import { measureArriving, measureTogether } from '../../bench/measure.js';
import { BatchCounter } from '../../coord/batch-stats.js';
import type { Conversation } from '../../coord/conversation.js';
import { CoordinatorError } from '../../coord/errors.js';
import { greedy } from '../../step/sampling.js';

const text = Int32Array.of(1, 2, 3);
const isEnd = (token: number) => token === 9;
const answers = { decodeTokens: 3, sampling: greedy, isEnd, reuse: false };

/** A coordinator whose conversations count up from the last token of what they read, each in a step of its own. */
class CountingCoordinator {
  opened = 0;
  closed = 0;
  readonly read: number[][] = [];
  readonly speculation = undefined;
  readonly batching = new BatchCounter().stats;

  stats() {
    return Promise.resolve([]);
  }

  conversation(): Conversation {
    this.opened++;
    const counting = {
      close: () => this.closed++,
      generate: (prompt: Int32Array, { maxTokens }: { maxTokens: number }) => {
        this.read.push([...prompt]);
        return this.answer(prompt.at(-1) as number, maxTokens);
      },
    };
    return counting as unknown as Conversation;
  }

  async *answer(last: number, count: number) {
    for (let token = last + 1; token <= last + count; token++) {
      await new Promise((resolve) => setImmediate(resolve));
      yield token;
      if (answers.isEnd(token)) return;
    }
  }
}

test('together, texts are read in turn and then continued', async () => {
  const coordinator = new CountingCoordinator();
  const conversations = [coordinator.conversation(), coordinator.conversation()];
  const recording = [5];
  const texts = [text, Int32Array.of(4)];
  const options = { ...answers, recording };
  const { waits } = await measureTogether(coordinator, conversations, texts, options, false);
  expect(coordinator.read).toEqual([[1, 2, 3], [4], [1, 2, 3, 4], [4, 5]]);
  expect(waits.map(({ length }) => length)).toEqual([4, 4]);
  expect(recording).toEqual([1, 2, 3, 4, 5, 6, 7]);
});

test('nothing follows the end of a text', async () => {
  const coordinator = new CountingCoordinator();
  const texts = [Int32Array.of(8)];
  const options = { ...answers, recording: [] };
  const conversations = [coordinator.conversation()];
  const { waits } = await measureTogether(coordinator, conversations, texts, options, true);
  expect(coordinator.read).toEqual([[8]]);
  expect(waits.map(({ length }) => length)).toEqual([1]);
});

test('who arrives has a conversation of its own, as long as it takes', async () => {
  const coordinator = new CountingCoordinator();
  const texts = [text, Int32Array.of(6), Int32Array.of(20)];
  const recording = [5];
  const options = { ...answers, recording };
  const { waits } = await measureArriving(coordinator, [0, 1, 3], texts, options, true);
  expect(coordinator).toMatchObject({ opened: 3, closed: 3 });
  expect(coordinator.read).toEqual([[1, 2, 3], [6], [20]]);
  expect(waits.map(({ length }) => length)).toEqual([4, 3, 4]);
  // Drafts replay what was recorded without them.
  expect(recording).toEqual([5]);
});

test('when one fails, nobody waits for those who have not arrived', async () => {
  const coordinator = new CountingCoordinator();
  coordinator.answer = () => {
    throw new CoordinatorError('worker-lost', 'lost a worker');
  };
  const options = { ...answers, recording: [] };
  const measured = measureArriving(coordinator, [0, 1e9], [text, text], options, false);
  await expect(measured).rejects.toThrow('lost a worker');
  expect(coordinator).toMatchObject({ opened: 1, closed: 1 });
});
