import { expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import type { CellRange } from '../../coord/cells.js';
import { randomTokens } from '../../model/random-tokens.js';
import type { Step } from '../../step/step.js';
import { openTestEngine } from '../support/engines.js';
import { relativeError } from '../support/relative-error.js';
import { tinyModel } from '../support/tiny-model.js';

const cells = 131_072;
const chunk = 512;
const none = new Float32Array(0);

test('the end of 131,072 cells is computed as their beginning is', async () => {
  const source = tinyModel('f32');
  const shard = { firstLayer: 0, endLayer: 3, embedding: true, head: true };
  const sizes = { source, shard, cells, kvType: 'f16', maxStepRows: chunk } as const;
  const engine = openTestEngine('ggml');
  const stage = await engine.load(sizes);
  const text = randomTokens(chunk + 8, 300);

  /** Logits of a prompt's chunk, of some drafts and of a lone token. */
  const read = async (range: CellRange, place: (step: Step) => Step) => {
    const parts: Float32Array[] = [];
    for (const [first, count] of [
      [0, chunk],
      [chunk, 7],
      [chunk + 7, 1],
    ] as const)
      parts.push(await stage.logits(place(textStep(text, { first, count, cells: range })), none));
    return parts;
  };
  /** The same step with all cells for its window. */
  const withAllCells = (step: Step): Step => ({
    ...step,
    segments: step.segments.map((segment) => ({
      ...segment,
      visible: { ...segment.visible, windowStart: 0, windowLength: cells },
    })),
  });

  const expected = await read({ start: 0, length: 1024 }, (step) => step);
  const before = process.memoryUsage().arrayBuffers;
  const compute = stage.memory.compute;
  const atTheEnd = await read({ start: cells - 1024, length: 1024 }, withAllCells);
  atTheEnd.forEach((logits, i) => {
    expect(relativeError(logits, expected[i]!), `part ${i}`).toBeLessThan(1e-5);
  });
  // Masks of 131 MB are made in pieces, in memory that was reserved for them.
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 << 20);
  expect(stage.memory.compute / compute).toBeCloseTo(1, 2);
  const estimate = engine.estimate(sizes);
  expect(compute / estimate.compute).toBeGreaterThan(0.8);
  expect(compute / estimate.compute).toBeLessThan(1.2);
  expect(stage.memory.kv / estimate.kv).toBeCloseTo(1, 2);
  stage.dispose();
});
