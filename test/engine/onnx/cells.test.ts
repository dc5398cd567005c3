import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import type { CellRange } from '../../../coord/cells.js';
import type { Stage } from '../../../engine/engine.js';
import { openGguf } from '../../../model/gguf/reader.js';
import type { TensorSource } from '../../../model/tensor-source.js';
import type { Segment, Step, Visible } from '../../../step/step.js';
import { openTestEngine } from '../../support/engines.js';
import { exactSource } from '../../support/exact-source.js';
import { goldenCases, repositoryPath } from '../../support/golden.js';
import { loadStages } from '../../support/local-stages.js';
import { relativeError } from '../../support/relative-error.js';

const none = new Float32Array(0);
const texts = goldenCases('demo-q8_0.json')
  .map(({ promptTokens, tokens }) => [...promptTokens, ...tokens])
  .filter(({ length }) => length >= 60);
const text = (texts[0] as number[]).slice(0, 40);

/** Logits of all tokens from `first` on, computed at once. */
function logitsOf(
  stage: Stage,
  of: number[],
  first: number,
  cells: CellRange,
): Promise<Float32Array> {
  return stage.logits(textStep(of, { first, cells }), none);
}

describe.each([
  { kvType: 'f16', bound: 5e-3 },
  { kvType: 'q8_0', bound: 2e-2 },
] as const)('the cells of a stage, KV $kvType', ({ kvType, bound }) => {
  let source: TensorSource;
  let onnx: Stage;
  let ggml: Stage;

  beforeAll(async () => {
    // With f32 weights results do not depend on how many tokens are quantized together.
    source = exactSource(await openGguf(repositoryPath('models/demo.gguf')));
    [onnx, ggml] = [
      (await loadStages(openTestEngine('onnx'), source, [16], 512, kvType))[0] as Stage,
      (await loadStages(openTestEngine('ggml'), source, [16]))[0] as Stage,
    ];
  });
  afterAll(async () => {
    onnx.dispose();
    ggml.dispose();
    await source.close();
  });

  test.each([1, 2, 3, 7, 16, 39])('hold a past for %i tokens at once', async (count) => {
    const range = { start: 0, length: 512 };
    const whole = await logitsOf(onnx, text, 0, range);
    const first = text.length - count;
    await logitsOf(onnx, text.slice(0, first), 0, range);
    const parts = await logitsOf(onnx, text, first, range);
    expect(relativeError(parts, whole.subarray(first * 2048))).toBeLessThan(1e-4);
  });

  test('serve conversations wherever they begin, and keep them apart', async () => {
    const ranges = [0, 64, 130, 449].map((start) => ({ start, length: 63 }));
    const alone: Float32Array[] = [];
    for (const [i] of ranges.entries()) {
      const of = (texts[i] as number[]).slice(0, 60);
      alone.push(await logitsOf(onnx, of, 0, { start: 0, length: 512 }));
    }
    // Token by token, in turns.
    for (let position = 0; position < 60; position++)
      for (const [i, range] of ranges.entries()) {
        const of = (texts[i] as number[]).slice(0, position + 1);
        const logits = await logitsOf(onnx, of, position, range);
        const expected = alone[i]?.subarray(position * 2048, (position + 1) * 2048);
        expect(relativeError(logits, expected as Float32Array), `${i}, ${position}`).toBeLessThan(
          1e-4,
        );
      }
  });

  test('are overwritten when drafts turn out wrong', async () => {
    const range = { start: 100, length: 300 };
    const whole = await logitsOf(onnx, text, 0, range);
    await logitsOf(onnx, text.slice(0, 20), 0, range);
    const wrong = [...text.slice(0, 20), 5, 6, 7, 8, 9];
    await logitsOf(onnx, wrong, 20, range);
    const right = await logitsOf(onnx, text, 20, range);
    expect(relativeError(right, whole.subarray(20 * 2048))).toBeLessThan(1e-4);
  });

  /** What both engines make of a step, after the same text. */
  async function compare(step: Step): Promise<number> {
    const [segment] = step.segments as [Segment];
    const range = { start: segment.visible.windowStart, length: 256 };
    const results: Float32Array[] = [];
    for (const stage of [onnx, ggml]) {
      await logitsOf(stage, text.slice(0, 20), 0, range);
      results.push(await stage.logits(step, none));
      // The cells, too, hold what they should: the text goes on after the step's first token.
      const goesOn = [...text.slice(0, 20), segment.tokens[0] ?? 0, 9];
      results.push(await logitsOf(stage, goesOn, 21, range));
    }
    const [ours, oursAfter, theirs, theirsAfter] = results as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    return Math.max(relativeError(ours, theirs), relativeError(oursAfter, theirsAfter));
  }

  /** Drafts that follow 20 tokens of the text, with changes. */
  function draftsAfterText(
    drafts: readonly number[],
    change: Partial<Segment> = {},
    visible: Partial<Visible> = {},
  ): Step {
    const cells = { start: 128, length: 256 };
    const plain = textStep([...text.slice(0, 20), ...drafts], { first: 20, cells });
    const [segment] = plain.segments as [Segment];
    const changed = { ...segment, ...change, visible: { ...segment.visible, ...visible } };
    return { ...plain, segments: [changed] };
  }

  test('serve a tree of drafts: two branches that do not see each other', async () => {
    const drafts = [11, 12, 13, 14];
    const tree = draftsAfterText(
      drafts,
      { positions: Int32Array.of(20, 21, 21, 22) },
      {
        // The root, its two children, and a child of the second one.
        counts: Int32Array.of(1, 1, 2, 3),
        ranges: Int32Array.of(
          ...[128, 149],
          ...[128, 150],
          ...[128, 149, 150, 151],
          ...[128, 149, 150, 151, 151, 152],
        ),
      },
    );
    expect(await compare(tree)).toBeLessThan(bound);
    const plain = await onnx.logits(draftsAfterText(drafts), none);
    expect(relativeError(await onnx.logits(tree, none), plain)).toBeGreaterThan(0.01);
  });

  test('may lie apart, and be seen by tokens before them', async () => {
    const step = draftsAfterText(
      [11, 12, 13],
      { cells: Int32Array.of(148, 200, 170) },
      {
        windowLength: 200,
        counts: Int32Array.of(1, 3, 2),
        ranges: Int32Array.of(
          ...[128, 149],
          ...[128, 140, 170, 171, 200, 201],
          ...[130, 149, 170, 171],
        ),
      },
    );
    expect(await compare(step)).toBeLessThan(bound);
  });
});
