import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import { EngineError, type Stage } from '../../../engine/engine.js';
import { OnnxStage } from '../../../engine/onnx/onnx-stage.js';
import { providerNamed } from '../../../engine/onnx/providers.js';
import { bindOnnxRuntime } from '../../../engine/onnx/runtime/api.js';
import { MatrixCache } from '../../../engine/onnx/weights/matrix-cache.js';
import { openGguf } from '../../../model/gguf/reader.js';
import type { Segment, Step } from '../../../step/step.js';
import { openTestEngine, packedWeightsFolder } from '../../support/engines.js';
import { repositoryPath } from '../../support/golden.js';
import { loadStages } from '../../support/local-stages.js';
import { expectBitsAlone, segmentCells } from '../../support/segments.js';
import { tinyModel } from '../../support/tiny-model.js';

const none = new Float32Array(0);
const conversations = 4;

test.each([
  { model: 'demo.gguf', kvType: 'f16', threads: 1, layers: [10, 6] },
  { model: 'demo.gguf', kvType: 'q8_0', threads: 2, layers: [16] },
  { model: 'demo-q4_0.gguf', kvType: 'f16', threads: 2, layers: [16] },
  { model: 'demo-q4_0.gguf', kvType: 'q8_0', threads: 1, layers: [10, 6] },
] as const)(
  '$model with KV $kvType on $threads threads: a segment gets the bits that it gets alone',
  async ({ model, kvType, threads, layers }) => {
    const source = await openGguf(repositoryPath(`models/${model}`));
    const engine = openTestEngine('onnx', threads);
    const stages = await loadStages(engine, source, layers, segmentCells, kvType, conversations);
    await expectBitsAlone(stages);
    for (const stage of stages) stage.dispose();
    await source.close();
  },
);

test.each([
  { type: 'f32', heads: 4, kvHeads: 2 },
  { type: 'f16', heads: 6, kvHeads: 2 },
  { type: 'q8_0', heads: 2, kvHeads: 2 },
  { type: 'q4_0', heads: 4, kvHeads: 1 },
])('$type, $heads heads over $kvHeads: the bits are the same', async ({ type, ...heads }) => {
  const source = tinyModel(type, {}, heads);
  for (const kvType of ['f16', 'q8_0'] as const) {
    const engine = openTestEngine('onnx');
    const stages = await loadStages(engine, source, [2, 1], segmentCells, kvType, conversations);
    await expectBitsAlone(stages);
    for (const stage of stages) stage.dispose();
  }
});

/** A segment of `count` tokens in cells of its own. */
function segmentOf(sequence: number, count: number): Segment {
  const text = Array.from({ length: count }, (_, i) => (sequence * 31 + i * 7) % 300);
  const cells = { start: 20 * (sequence - 1), length: 20 };
  const [segment] = textStep(text, { cells }).segments as [Segment];
  return { ...segment, sequence };
}

/** The segment with a mask: its last token sees itself alone. */
function masked(segment: Segment): Segment {
  const ranges = segment.visible.ranges.slice();
  ranges[ranges.length - 2] = segment.cells.at(-1) as number;
  return { ...segment, visible: { ...segment.visible, ranges } };
}

describe('a step', () => {
  let runs = 0;
  let stage: Stage;
  let lonely: Stage;
  const load = (conversations: number, runtime = bindOnnxRuntime()) => {
    const run: typeof runtime.run = (...values) => {
      runs++;
      return runtime.run(...values);
    };
    const runNow: typeof runtime.runNow = (...values) => {
      runs++;
      return runtime.runNow(...values);
    };
    const matrices = new MatrixCache(packedWeightsFolder(), { threads: 1 });
    return OnnxStage.load(
      {
        runtime: { ...runtime, run, runNow },
        provider: providerNamed('cpu'),
        threads: 1,
        matrices,
        requantize: false,
      },
      {
        source: tinyModel('q4_0'),
        shard: { firstLayer: 0, endLayer: 3, embedding: true, head: true },
        cells: 300,
        conversations,
        kvType: 'f16',
        maxStepRows: 64,
      },
    );
  };
  beforeAll(async () => {
    stage = await load(15);
    lonely = await load(1);
  });
  afterAll(() => {
    stage.dispose();
    lonely.dispose();
  });

  /** Logits of every segment's rows, and how many runs they took. */
  async function compute(on: Stage, ...segments: Segment[]): Promise<[number[], number]> {
    const step: Step = { id: 1, epoch: 1, segments };
    runs = 0;
    return [[...(await on.logits(step, none))], runs];
  }

  async function alone(...segments: Segment[]): Promise<number[]> {
    const logits: number[] = [];
    for (const segment of segments) logits.push(...(await compute(lonely, segment))[0]);
    return logits;
  }

  test('of several segments is one run', async () => {
    const segments = [segmentOf(1, 4), segmentOf(2, 1), segmentOf(3, 7)];
    expect(await compute(stage, ...segments)).toEqual([await alone(...segments), 1]);
  });

  test('of more segments than a graph has places for is several', async () => {
    const segments = Array.from({ length: 11 }, (_, i) => segmentOf(i + 1, 1 + (i % 3)));
    expect(await compute(stage, ...segments)).toEqual([await alone(...segments), 2]);
  });

  test('has runs for segments that need a mask', async () => {
    const segments = [segmentOf(1, 2), masked(segmentOf(2, 3)), segmentOf(3, 1), segmentOf(4, 5)];
    expect(await compute(stage, ...segments)).toEqual([await alone(...segments), 3]);
  });

  test('is computed segment by segment where one conversation was expected', async () => {
    const segments = [segmentOf(1, 4), segmentOf(2, 1), segmentOf(3, 7)];
    expect(await compute(lonely, ...segments)).toEqual([await alone(...segments), 3]);
  });

  test('is computed segment by segment where kernels cannot share weights', async () => {
    const runtime = bindOnnxRuntime();
    const newSession: typeof runtime.newSession = async (model, options, packed) => {
      const session = await runtime.newSession(model, options, packed);
      if (packed === undefined) return session;
      await runtime.releaseSession(session);
      throw new EngineError('unsupported', 'a kernel has no part in that');
    };
    const apart = await load(4, { ...runtime, newSession });
    const segments = [segmentOf(1, 4), segmentOf(2, 1), segmentOf(3, 7)];
    expect(await compute(apart, ...segments)).toEqual([await alone(...segments), 3]);
    apart.dispose();
  });

  test('gives hidden states and choices to the segments that they are for', async () => {
    const segments = [segmentOf(5, 2), masked(segmentOf(6, 2)), segmentOf(7, 3)];
    const results = await stage.forward({ id: 1, epoch: 1, segments }, none, none);
    const expected = [];
    for (const segment of segments)
      expected.push(
        ...(await lonely.forward({ id: 1, epoch: 1, segments: [segment] }, none, none)),
      );
    expect(results).toEqual(expected);
    expect(results.map(({ sequence }) => sequence)).toEqual([5, 6, 7]);
  });
});
