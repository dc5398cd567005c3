import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { causalBatch } from '../../../coord/step-builder.js';
import { greedy, type Batch, type Stage } from '../../../engine/engine.js';
import { openGguf } from '../../../model/gguf/reader.js';
import type { TensorSource } from '../../../model/tensor-source.js';
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
function logitsOf(stage: Stage, of: number[], first: number, range: Range): Promise<Float32Array> {
  const outputs = Int32Array.from({ length: of.length - first }, (_, i) => i);
  return stage.logits(causalBatch(of, first, of.length - first, range, outputs, greedy), none);
}
type Range = Parameters<typeof causalBatch>[3];

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

  /** What both engines make of a batch, after the same text. */
  async function compare(batch: Batch): Promise<number> {
    const range = { start: batch.windowStart, length: 256 };
    const results: Float32Array[] = [];
    for (const stage of [onnx, ggml]) {
      await logitsOf(stage, text.slice(0, 20), 0, range);
      results.push(await stage.logits(batch, none));
      // The cells, too, hold what they should: the text goes on after the batch's first token.
      results.push(
        await logitsOf(stage, [...text.slice(0, 20), batch.tokens[0] ?? 0, 9], 21, range),
      );
    }
    const [ours, oursAfter, theirs, theirsAfter] = results as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    return Math.max(relativeError(ours, theirs), relativeError(oursAfter, theirsAfter));
  }

  function batchAfterText(change: Partial<Batch>): Batch {
    const tokens = change.tokens as Int32Array;
    return {
      ...causalBatch(
        [...text.slice(0, 20), ...tokens],
        20,
        tokens.length,
        { start: 128, length: 256 },
        Int32Array.from(tokens, (_, i) => i),
        greedy,
      ),
      ...change,
    };
  }

  test('serve a tree of drafts: two branches that do not see each other', async () => {
    const batch = batchAfterText({
      tokens: Int32Array.of(11, 12, 13, 14),
      positions: Int32Array.of(20, 21, 21, 22),
      // The root, its two children, and a child of the second one.
      visibleCounts: Int32Array.of(1, 1, 2, 3),
      visible: Int32Array.of(
        ...[128, 149],
        ...[128, 150],
        ...[128, 149, 150, 151],
        ...[128, 149, 150, 151, 151, 152],
      ),
    });
    expect(await compare(batch)).toBeLessThan(bound);
    const plain = batchAfterText({ tokens: batch.tokens });
    const differs = relativeError(await onnx.logits(batch, none), await onnx.logits(plain, none));
    expect(differs).toBeGreaterThan(0.01);
  });

  test('may lie apart, and be seen by tokens before them', async () => {
    const batch = batchAfterText({
      tokens: Int32Array.of(11, 12, 13),
      cells: Int32Array.of(148, 200, 170),
      windowLength: 200,
      visibleCounts: Int32Array.of(1, 3, 2),
      visible: Int32Array.of(
        ...[128, 149],
        ...[128, 140, 170, 171, 200, 201],
        ...[130, 149, 170, 171],
      ),
    });
    expect(await compare(batch)).toBeLessThan(bound);
  });
});
