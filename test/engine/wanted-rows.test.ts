import { expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import { loadWholeModel } from '../../bench/whole-model.js';
import type { Stage } from '../../engine/engine.js';
import { randomTokens } from '../../model/random-tokens.js';
import { tinyHybrids } from '../../model/synthetic/hybrid-shapes.js';
import { plainShapes } from '../../model/synthetic/plain-shapes.js';
import type { SyntheticShape } from '../../model/synthetic/shape.js';
import { tinyShapes } from '../../model/synthetic/tiny-shapes.js';
import { noState, wantChoice, wantNothing } from '../../step/step.js';
import { openTestEngine } from '../support/engines.js';
import { tinyModel } from '../support/tiny-model.js';

const cells = { start: 0, length: 128 };
const text = randomTokens(96, 300);

/** The last layer attends, with a gate or without, or keeps a state; it has experts or not; what it has is in a row or not. */
const shapes: Record<string, Partial<SyntheticShape> | undefined> = {
  plain: {},
  experts: tinyShapes['tiny-glm4moe'],
  latent: tinyShapes['tiny-deepseek2'],
  'gated attention': { ...tinyHybrids['tiny-qwen35'], layers: 4 },
  'a state': tinyHybrids['tiny-qwen35moe'],
  'side by side': plainShapes['tiny-cohere2'],
};

/** @returns [wanted, vocabulary] of a part of the text */
function logitsOf(stage: Stage, first: number, count: number, wanted: (row: number) => boolean) {
  const step = textStep(text, { first, count, cells });
  const want = Uint8Array.from({ length: count }, (_, row) =>
    wanted(row) ? wantChoice : wantNothing,
  );
  const state = { read: first === 0 ? noState : 0, write: first === 0 ? 0 : 1 };
  const segments = step.segments.map((segment) => ({ ...segment, want, state }));
  return stage.logits({ ...step, segments }, new Float32Array(0));
}

test.each(Object.keys(shapes))(
  '%s: wanted rows get the same logits whatever others are wanted',
  async (name) => {
    expect(shapes[name]).toBeDefined();
    const source = tinyModel('q4_0', {}, shapes[name]);
    const sizes = { cells: cells.length, states: 2, maxStepRows: 96 };
    const options = { source, kvType: 'f16', ...sizes } as const;
    using stage = disposable(
      await loadWholeModel(openTestEngine('ggml', 1), options, () => new Int32Array(0)),
    );
    for (const [first, count] of [
      [0, 80],
      [80, 16],
    ] as const) {
      // More wanted rows than a few are computed by other kernels.
      const few = (row: number) => row >= count - 16;
      const expected = await logitsOf(stage, first, count, few);
      const size = expected.length / 16;
      expect(expected).not.toContain(NaN);
      for (const rows of [[15], [0, 3, 14], [7, 15]]) {
        const some = await logitsOf(stage, first, count, (row) =>
          rows.includes(row - (count - 16)),
        );
        for (const [i, row] of rows.entries())
          expect(some.subarray(i * size, (i + 1) * size)).toEqual(
            expected.subarray(row * size, (row + 1) * size),
          );
      }
      // Where nothing is wanted, what is kept of the rows is kept all the same.
      expect(await logitsOf(stage, first, count, () => false)).toHaveLength(0);
    }
  },
);

function disposable(stage: Stage): Stage & Disposable {
  return Object.assign(stage, { [Symbol.dispose]: () => stage.dispose() });
}
