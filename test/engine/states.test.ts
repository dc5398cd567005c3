import { expect, test } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import type { Stage } from '../../engine/engine.js';
import { tinyHybrid } from '../../model/synthetic/hybrid-shapes.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { randomTokens } from '../../model/random-tokens.js';
import { greedy } from '../../step/sampling.js';
import { noState, type Segment, type StateSlots } from '../../step/step.js';
import { openTestEngine } from '../support/engines.js';

const engine = openTestEngine('ggml');
const source = syntheticModel(tinyHybrid, 'q8_0');
const cells = 512;
const begin = noState;

async function openStage(): Promise<Stage> {
  return engine.load({
    source,
    shard: { firstLayer: 0, endLayer: tinyHybrid.layers, embedding: true, head: true },
    cells: 2 * cells,
    conversations: 2,
    states: 4,
    kvType: 'f16',
    maxStepRows: 320,
  });
}

const text = randomTokens(300, tinyHybrid.vocabulary);
const other = text.toReversed();

/** Tokens [first, end) of a text, in the cells of the first or second conversation. */
function part(
  of: Int32Array,
  [first, end]: readonly [number, number],
  state: StateSlots,
  sequence = 1,
): Segment {
  return causalSegment({
    sequence,
    text: of,
    first,
    count: end - first,
    cells: { start: (sequence - 1) * cells, length: cells },
    choices: 'last',
    sampling: greedy,
    state,
  });
}

function logits(stage: Stage, ...segments: Segment[]): Promise<Float32Array> {
  return stage.logits({ id: 1, epoch: 1, segments }, new Float32Array(0));
}

test('a prompt gives the same bits in one piece and in several, and in whatever slots', async () => {
  const stage = await openStage();
  try {
    const whole = await logits(stage, part(text, [0, 300], { read: begin, write: 3 }));
    await logits(stage, part(text, [0, 64], { read: begin, write: 0 }));
    await logits(stage, part(text, [64, 192], { read: 0, write: 1 }));
    const inPieces = await logits(stage, part(text, [192, 300], { read: 1, write: 1 }));
    expect(inPieces).toEqual(whole);
  } finally {
    stage.dispose();
  }
});

test('a state that was kept can be gone on from more than once', async () => {
  const stage = await openStage();
  try {
    const last = [290, 300] as const;
    await logits(stage, part(text, [0, 290], { read: begin, write: 0 }));
    const once = await logits(stage, part(text, last, { read: 0, write: 1 }));
    await logits(stage, part(other, [0, 290], { read: begin, write: 2 }, 2));
    const again = await logits(stage, part(text, last, { read: 0, write: 1 }));
    expect(again).toEqual(once);
    const another = await logits(stage, part(text, last, { read: 2, write: 3 }));
    expect(another).not.toEqual(once);
  } finally {
    stage.dispose();
  }
});

test('segments get the bits that each gets alone', async () => {
  const stage = await openStage();
  try {
    const alone: number[] = [];
    for (const [i, of] of [text, other].entries()) {
      await logits(stage, part(of, [0, 100], { read: begin, write: i }, i + 1));
      alone.push(...(await logits(stage, part(of, [100, 105], { read: i, write: 2 + i }, i + 1))));
    }
    const together = await logits(
      stage,
      part(text, [100, 105], { read: 0, write: 2 }),
      part(other, [100, 105], { read: 1, write: 3 }, 2),
    );
    expect([...together]).toEqual(alone);
    const next = (i: number, of: Int32Array) =>
      part(of, [105, 106], { read: 2 + i, write: 2 + i }, i + 1);
    const after = await logits(stage, next(0, text), next(1, other));
    expect(after.subarray(0, 300)).not.toEqual(after.subarray(300));
  } finally {
    stage.dispose();
  }
});

test('steps whose states make no sense are refused', async () => {
  const stage = await openStage();
  try {
    const { state, ...stateless } = part(text, [0, 4], { read: begin, write: 0 });
    expect(state).toBeDefined();
    const refused: Segment[][] = [
      [stateless],
      [part(text, [0, 4], { read: begin, write: 4 })],
      [part(text, [0, 4], { read: begin, write: -1 })],
      [part(text, [0, 4], { read: 0, write: 0 })],
      [part(text, [4, 8], { read: begin, write: 0 })],
      [part(text, [4, 8], { read: 4, write: 0 })],
      [part(text, [4, 8], { read: 0.5, write: 0 })],
      [
        part(text, [0, 4], { read: begin, write: 0 }),
        part(text, [0, 4], { read: begin, write: 0 }, 2),
      ],
      [part(text, [4, 8], { read: 0, write: 1 }), part(text, [4, 8], { read: 1, write: 2 }, 2)],
      [
        {
          ...part(text, [4, 8], { read: 0, write: 1 }),
          positions: Int32Array.of(4, 5, 5, 6),
        },
      ],
    ];
    for (const segments of refused)
      await expect(logits(stage, ...segments)).rejects.toMatchObject({ code: 'step' });
  } finally {
    stage.dispose();
  }
});
