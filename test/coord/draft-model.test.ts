import { expect, test } from 'vitest';
import { DraftModel } from '../../coord/draft-model.js';
import { Sequence } from '../../coord/sequence.js';
import type { Stage } from '../../engine/engine.js';
import { Turns } from '../../stage/turns.js';
import { greedy } from '../../step/sampling.js';
import {
  noState,
  type Segment,
  type SegmentResult,
  type StateSlots,
  type Step,
} from '../../step/step.js';
import { Random } from '../support/random.js';

/** Chooses by the whole text that its cells hold, or its states where there are slots for them, and fails the test when it is used after it was freed. */
class CheckedStage implements Stage {
  readonly shard = { firstLayer: 0, endLayer: 1, embedding: true, head: true };
  readonly hiddenSize = 1;
  readonly memory = { weights: 0, kv: 0, compute: 0 };
  readonly kvType = 'f16';
  readonly cells: number[] = [];
  readonly states: (readonly number[])[] = [];
  steps = 0;
  isFree = false;
  hold: Promise<void> | undefined;

  async forward({ segments }: Step): Promise<SegmentResult[]> {
    if (this.isFree) throw new Error('used after it was freed');
    this.steps++;
    const [segment] = segments;
    if (!segment) throw new Error('no segment');
    const text = segment.state ? this.#goOn(segment, segment.state) : this.#seen(segment);
    await (this.hold ?? new Promise((resolve) => setImmediate(resolve)));
    if (this.isFree) throw new Error('freed while it computes');
    return [{ sequence: segment.sequence, choices: Int32Array.of(choiceAfter(text)) }];
  }

  #goOn({ tokens }: Segment, { read, write }: StateSlots): readonly number[] {
    const before = read === noState ? [] : (this.states[read] ?? [-1]);
    return (this.states[write] = [...before, ...tokens]);
  }

  #seen({ cells, tokens, visible }: Segment): readonly number[] {
    cells.forEach((cell, row) => (this.cells[cell] = tokens[row] as number));
    return this.cells.slice(0, visible.ranges.at(-1));
  }

  logits(): Promise<Float32Array> {
    return Promise.reject(new Error('no logits'));
  }

  dispose(): void {
    this.isFree = true;
  }
}

function choiceAfter(text: readonly number[]): number {
  return text.reduce((sum, token, i) => (sum * 31 + token * (i + 7)) % 8191, 1) % 50;
}

async function open(slotsEach = 0) {
  const stage = new CheckedStage();
  return {
    stage,
    model: await DraftModel.open(stage, 'checked', new Turns(), { cellsEach: 200, slotsEach }),
  };
}

test('a draft model that is closed while drafts wait is freed once, when nothing computes', async () => {
  const { stage, model } = await open();
  const sequence = new Sequence();
  sequence.text.replace(Int32Array.of(1, 2, 3));
  let release: (() => void) | undefined;
  stage.hold = new Promise((resolve) => (release = resolve));
  const drafts = [0, 1, 2].map(() => model.source(sequence).draft(sequence.text, 2, greedy));
  const waiting = drafts.map((draft) =>
    (draft as AsyncGenerator<number>).next().then(
      () => 'a draft',
      (error: Error) => error.message,
    ),
  );
  while (stage.steps < 17) await new Promise((resolve) => setImmediate(resolve));
  const closed = [model.close(), model.close()];
  release?.();
  await Promise.all(closed);
  expect(await Promise.all(waiting)).toEqual(
    ['a draft', 'a draft', 'a draft'].map((_, i) =>
      i === 0 ? 'a draft' : 'the draft model was closed',
    ),
  );
  expect(stage.isFree).toBe(true);
  await expect(model.source(sequence).prepare?.(sequence.text)).rejects.toMatchObject({
    code: 'cancelled',
  });
});

test.each([
  ['cells', 0],
  ['states in two slots', 2],
  ['states in four slots', 4],
])(
  'drafts follow the text, whatever becomes of it while they are made, by %s',
  async (_, slots) => {
    const random = new Random(3);
    const { model } = await open(slots);
    const sequence = new Sequence();
    const { text } = sequence;
    const source = model.source(sequence);
    let compared = 0;
    for (let round = 0; round < 400; round++) {
      if (text.length === 0 || text.length > 150 || random.share() < 0.05)
        text.replace(
          Int32Array.from({ length: random.between(1, 30) }, () => random.between(0, 49)),
        );
      const before = [...text.tokens];
      let isUndisturbed = true;
      for await (const token of source.draft(text, random.between(1, 4), greedy)) {
        // A guess for a text that has not changed meanwhile is exact, however often it did before.
        if (isUndisturbed) expect(token).toBe(choiceAfter(before));
        compared++;
        before.push(token);
        if (random.share() < 0.7) text.guess(token);
        else isUndisturbed = false;
        if (random.share() < 0.3) {
          text.confirm(random.between(0, 49));
          isUndisturbed = false;
        }
      }
      if (random.share() < 0.5) text.truncate(text.certain);
      // A text that is forgotten while a draft waits for its turn leaves nothing to draft.
      if (random.share() < 0.05) {
        const prepared = source.prepare?.(text);
        text.truncate(0);
        await prepared;
      }
    }
    expect(compared).toBeGreaterThan(400);
    await model.close();
  },
);
