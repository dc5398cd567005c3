import { expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import type { Stage } from '../../engine/engine.js';
import { rewindOf } from '../../model/architectures/layer.js';
import { readModel } from '../../model/architectures/model.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { openTestEngine } from '../support/engines.js';
import { withFile } from '../support/family.js';
import { openLlamaCpp } from '../support/llama-cpp.js';
import { relativeError } from '../support/relative-error.js';
import { tinyShape } from '../support/tiny-model.js';

const engine = openTestEngine('ggml');
const window = 64;
const model = syntheticModel(
  {
    ...tinyShape,
    architecture: 'gemma2',
    layers: 2,
    numbers: { 'attention.sliding_window': window },
  },
  'f32',
);
const shard = { firstLayer: 0, endLayer: 2, embedding: true, head: true };
const chunk = 512;
const none = new Float32Array(0);

function load(context: number, conversations: number): Promise<Stage> {
  const sizes = { cells: context * conversations, conversations, maxStepRows: chunk } as const;
  return engine.load({ source: model, shard, kvType: 'f16', ...sizes });
}

function textOf(length: number, seed: number): number[] {
  return Array.from({ length }, (_, i) => (i * 37 + seed * 11 + (i % 7)) % tinyShape.vocabulary);
}

/** Reads tokens [first, end) of a text in chunks. @returns the logits after the last */
async function read(
  stage: Stage,
  text: readonly number[],
  first: number,
  end: number,
  start: number,
  length: number,
): Promise<Float32Array> {
  let logits: Float32Array = none;
  for (let at = first; at < end; at += chunk) {
    const count = Math.min(chunk, end - at);
    const part = { first: at, count, cells: { start, length }, choices: 'last' } as const;
    logits = await stage.logits(textStep(text.slice(0, at + count), part), none);
  }
  return logits;
}

test('layers with a window keep a ring of cells, and see what llama.cpp does', async () => {
  const context = 6144;
  const stage = await load(context, 2);
  await withFile(model, async (file) => {
    const texts = [textOf(5000, 1), textOf(4500, 2)];
    // One conversation after the other, in turns: neither may take the other's places.
    for (const [first, end] of [
      [0, 2100],
      [2100, 4490],
    ] as const)
      for (const [i, text] of texts.entries())
        await read(stage, text, first, end, i * context, context);
    for (const [i, text] of texts.entries()) {
      using reference = openLlamaCpp(file, tinyShape.vocabulary, context);
      for (let at = 0; at < 4490; at += chunk)
        reference.logitsAfter(text.slice(at, Math.min(at + chunk, 4490)));
      for (let at = 4490; at < 4500; at++) {
        const logits = await read(stage, text, at, at + 1, i * context, context);
        const expected = reference.logitsAfter(text.slice(at, at + 1));
        expect(relativeError(logits, expected), `text ${i}, token ${at}`).toBeLessThan(1e-3);
      }
    }
  });
  stage.dispose();
});

test('a text may go back as far as is said, and gets the same bits there', async () => {
  const context = 6144;
  const rewind = rewindOf(readModel(model).layers, context, chunk);
  expect(rewind).toBeGreaterThan(1000);
  const stage = await load(context, 1);
  const text = textOf(5000, 3);
  const from = 5000 - rewind;
  const before = await read(stage, text, 0, from, 0, context);
  const expected = await read(stage, text, from, from + 1, 0, context);
  await read(stage, text, from + 1, 5000, 0, context);
  const again = await read(stage, text, from, from + 1, 0, context);
  expect(again).toEqual(expected);
  expect(before).not.toEqual(expected);
  stage.dispose();
});

test('memory of layers with a window does not grow with the context', async () => {
  const bytes = async (context: number) => {
    const stage = await load(context, 1);
    const { kv } = stage.memory;
    const estimate = engine.estimate({
      source: model,
      shard,
      kvType: 'f16',
      cells: context,
      maxStepRows: chunk,
    });
    expect(kv / estimate.kv).toBeCloseTo(1, 1);
    stage.dispose();
    return kv;
  };
  const [short, long] = [await bytes(8192), await bytes(65_536)];
  // Of its two layers one has a window.
  const perCell = 2 * 2 * tinyShape.kvHeads * tinyShape.headSize;
  expect((long - short) / (65_536 - 8192)).toBeCloseTo(perCell, 0);
});
