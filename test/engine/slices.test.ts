import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import type { Stage } from '../../engine/engine.js';
import { randomTokens } from '../../model/random-tokens.js';
import { tinyHybrids } from '../../model/synthetic/hybrid-shapes.js';
import { plainShapes } from '../../model/synthetic/plain-shapes.js';
import type { SyntheticShape } from '../../model/synthetic/shape.js';
import { tinyShapes } from '../../model/synthetic/tiny-shapes.js';
import { greedy } from '../../step/sampling.js';
import { noState, rowsOfStep, type SegmentResult, type Step } from '../../step/step.js';
import { openTestEngine } from '../support/engines.js';
import { Random } from '../support/random.js';
import { tinyModel } from '../support/tiny-model.js';

const each = 512;
const text = randomTokens(400, 300);
const layers = 4;

const shapes: Record<string, Partial<SyntheticShape> | undefined> = {
  plain: {},
  experts: tinyShapes['tiny-glm4moe'],
  'latent keys': tinyShapes['tiny-deepseek2'],
  // Whose rings are shorter than a conversation.
  windows: plainShapes['tiny-gemma2'],
  states: tinyHybrids['tiny-qwen35'],
};

/** Tokens [first, first + count) of the text, in the cells and states of one of three sequences. */
function stepOf(sequence: number, first: number, count: number): Step {
  const cells = { start: (sequence - 1) * each, length: each };
  const slot = 2 * (sequence - 1);
  // A state is written where another one is read.
  const state = { read: first === 0 ? noState : slot, write: first === 0 ? slot : slot + 1 };
  const shared = { sequence, text, first, count, cells, sampling: greedy, state } as const;
  return { id: 1, epoch: 1, segments: [causalSegment({ ...shared, choices: 'last' })] };
}

/** What a stage gives of a step: results, or a digest of hidden states. */
interface Given {
  readonly results: readonly SegmentResult[];
  readonly output: string;
}

function load(name: string, head: boolean): Promise<Stage> {
  expect(shapes[name]).toBeDefined();
  const source = tinyModel('q4_0', {}, { ...shapes[name], layers });
  return openTestEngine('ggml', 1).load({
    source,
    shard: { firstLayer: 0, endLayer: head ? layers : layers - 1, embedding: true, head },
    ...{ cells: 3 * each, conversations: 3, states: 6, kvType: 'f16', maxStepRows: 256 },
  });
}

const none = new Float32Array(0);

function outputFor(stage: Stage, step: Step): Float32Array {
  return new Float32Array(stage.shard.head ? 0 : rowsOfStep(step) * stage.hiddenSize);
}

function digest(output: Float32Array): string {
  return createHash('sha256').update(output).digest('hex');
}

async function inOrder(stage: Stage, step: Step): Promise<Given> {
  const output = outputFor(stage, step);
  const results = await stage.forward(step, none, output);
  return { results, output: digest(output) };
}

/** @param between what is done between slices */
async function inSlices(
  stage: Stage,
  step: Step,
  length: () => number,
  between: () => Promise<void>,
): Promise<Given> {
  const output = outputFor(stage, step);
  const slices = stage.begin!(step, none, output);
  for (;;) {
    const results = await slices.compute(length());
    if (results) return { results, output: digest(output) };
    await between();
  }
}

const cases = Object.keys(shapes).flatMap((name) => [true, false].map((head) => ({ name, head })));

test.each(cases)(
  '$name, head $head: slices with short steps in between give the bits of steps in order',
  async ({ name, head }) => {
    const stage = await load(name, head);
    const random = new Random(7);
    const longs = [stepOf(1, 0, 192), stepOf(1, 192, 70)];
    const shorts = [2, 3].flatMap((sequence) =>
      [1, 9, 16].map((count) => stepOf(sequence, 37, count)),
    );
    for (const sequence of [2, 3]) await inOrder(stage, stepOf(sequence, 0, 37));
    const expectedShorts: Given[] = [];
    const expectedLongs: Given[] = [];
    for (const short of shorts) expectedShorts.push(await inOrder(stage, short));
    for (const long of longs) expectedLongs.push(await inOrder(stage, long));

    for (let round = 0; round < 3; round++) {
      for (const [i, long] of longs.entries()) {
        const length = () => random.between(1, 2);
        const given = await inSlices(stage, long, length, async () => {
          for (let count = random.between(0, 2); count > 0; count--) {
            const index = random.between(0, shorts.length - 1);
            expect(await inOrder(stage, shorts[index]!)).toEqual(expectedShorts[index]);
          }
        });
        expect(given, `round ${round}, step ${i}`).toEqual(expectedLongs[i]);
      }
    }
    stage.dispose();
  },
);

test('a long step that others have taken the place of does not go on', async () => {
  const stage = await load('plain', true);
  const slices = stage.begin!(stepOf(1, 0, 192), none, none);
  expect(await slices.compute(1)).toBeUndefined();
  await stage.forward(stepOf(2, 0, 100), none, none);
  await expect(slices.compute(1)).rejects.toMatchObject({ code: 'internal' });
  stage.dispose();
  await expect(slices.compute(1)).rejects.toMatchObject({ message: 'this stage is closed' });
});

test('a slice that is given up takes nothing from other steps', async () => {
  const stage = await load('experts', true);
  const expected = await inOrder(stage, stepOf(1, 0, 192));
  const slices = stage.begin!(stepOf(1, 0, 192), none, none);
  await slices.compute(1);
  const useless = slices.compute(2);
  stage.abort?.();
  await expect(useless).rejects.toMatchObject({ code: 'compute' });
  expect(await inOrder(stage, stepOf(1, 0, 192))).toEqual(expected);
  stage.dispose();
});
