import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import { EngineError, type Stage } from '../../../engine/engine.js';
import { openOnnxEngine } from '../../../engine/onnx/onnx-engine.js';
import { probeProviders } from '../../../engine/onnx/probe.js';
import { bindOnnxRuntime } from '../../../engine/onnx/runtime/api.js';
import { findLibrary } from '../../../engine/onnx/runtime/library.js';
import { openGguf } from '../../../model/gguf/reader.js';
import { packedWeightsFolder } from '../../support/engines.js';
import { expectTokensOfDevice } from '../../support/device-tokens.js';
import {
  clearMargin,
  clearTokens,
  goldenCases,
  goldenModels,
  repositoryPath,
} from '../../support/golden.js';
import { choices, generate, loadStages } from '../../support/local-stages.js';
import { relativeError } from '../../support/relative-error.js';
import { tinyModel } from '../../support/tiny-model.js';

const statuses = new Map(probeProviders().map((status) => [status.name, status]));
const problems = [...statuses.values()].flatMap(({ name, problem }) =>
  problem === undefined ? [] : [{ name, problem }],
);
const usable = [...statuses.keys()].filter((name) => statuses.get(name)?.problem === undefined);

test('the CPU is always there', () => {
  expect(usable).toContain('cpu');
});

test('a platform without a provider says who has it', () => {
  const missing = process.platform === 'win32' ? 'coreml' : 'dml';
  expect(statuses.get(missing)?.problem).toMatch(
    /^ONNX Runtime for \w+ \w+ is built without it, only that for \w+ has it$/,
  );
});

test.runIf(bindOnnxRuntime().providers().includes('WebGpuExecutionProvider'))(
  'WebGPU is there, or says what it lacks',
  () => {
    const problem = statuses.get('webgpu')?.problem;
    if (problem !== undefined) expect(problem).toMatch(/^cannot use WebGPU: \S.*adapter/);
  },
);

test.each(problems)('$name is refused with the cause in one line', ({ name, problem }) => {
  const open = () => openOnnxEngine({ provider: name, cacheDirectory: packedWeightsFolder() });
  expect(open).toThrow(EngineError);
  expect(open).toThrow(`--provider ${name}: ${problem}: use --provider cpu`);
  expect(problem).not.toContain('\n');
});

describe.each(usable)('the demo model on %s', (provider) => {
  test('gives the tokens of llama.cpp', async () => {
    const engine = openOnnxEngine({ provider, cacheDirectory: packedWeightsFolder(), threads: 1 });
    const source = await openGguf(repositoryPath('models/demo.gguf'));
    const stages = await loadStages(engine, source, [13, 3]);
    for (const golden of goldenCases('demo-q8_0.json').slice(0, 4)) {
      const expected = clearTokens(golden);
      const tokens = await generate(stages, golden.promptTokens, expected.length);
      expectTokensOfDevice(tokens, golden);
    }
    for (const stage of stages) stage.dispose();
    await source.close();
  });

  // Devices round differently, so that few close choices may turn.
  test.each(goldenModels)('$model chooses as llama.cpp does', async ({ model, golden }) => {
    const cacheDirectory = packedWeightsFolder();
    const engine = openOnnxEngine({ provider, cacheDirectory, threads: 1, requantize: true });
    const source = await openGguf(repositoryPath(`models/${model}`));
    const stages = await loadStages(engine, source, [16]);
    let clear = 0;
    const turned: number[] = [];
    for (const { promptTokens, tokens, margins } of goldenCases(golden)) {
      const chosen = await choices(stages, [...promptTokens, ...tokens]);
      tokens.forEach((token, i) => {
        const margin = margins[i] as number;
        if (margin < clearMargin) return;
        clear++;
        if (chosen[promptTokens.length - 1 + i] !== token) turned.push(margin);
      });
    }
    expect(clear).toBeGreaterThan(400);
    expect(turned.filter((margin) => margin >= 0.2)).toEqual([]);
    expect(turned.length / clear).toBeLessThanOrEqual(0.005);
    for (const stage of stages) stage.dispose();
    await source.close();
  });
});

describe.each(usable)('a stage on %s', (provider) => {
  const engine = openOnnxEngine({ provider, cacheDirectory: packedWeightsFolder(), threads: 1 });
  const text = [5, 6, 7, 8, 9, 10];
  const none = new Float32Array(0);
  let stage: Stage;

  beforeAll(async () => {
    const shard = { firstLayer: 0, endLayer: 3, embedding: true, head: true };
    stage = await engine.load({
      source: tinyModel('q4_0'),
      shard,
      cells: 128,
      conversations: 2,
      kvType: 'f16',
      maxStepRows: 16,
    });
  });
  afterAll(() => stage.dispose());

  const stepOf = (start: number, first: number, count: number) =>
    textStep(text, { first, count, cells: { start, length: 64 }, choices: 'last' });

  test('keeps conversations apart', async () => {
    const whole = await stage.logits(stepOf(0, 0, 6), none);
    for (const [first, count] of [
      [0, 3],
      [3, 1],
      [4, 2],
    ] as const)
      for (const start of [0, 64]) {
        const logits = await stage.logits(stepOf(start, first, count), none);
        if (first === 4) expect(relativeError(logits, whole)).toBeLessThan(0.03);
      }
    // 2 kinds, 3 layers, 128 cells, of 2 heads with 32 features; the CPU has one more for a token that is alone.
    const cells = provider === 'cpu' ? 129 : 128;
    expect(stage.memory.kv).toBe(2 * 3 * cells * 2 * 32 * 4);
  });

  test('computes the segments of a step each for itself', async () => {
    const steps = [stepOf(0, 0, 4), stepOf(64, 0, 6)];
    const alone: number[] = [];
    for (const step of steps) alone.push(...(await stage.logits(step, none)));
    const segments = steps.flatMap((step, i) =>
      step.segments.map((segment) => ({ ...segment, sequence: i + 1 })),
    );
    const together = await stage.logits({ id: 1, epoch: 1, segments }, none);
    expect([...together]).toEqual(alone);
  });

  test('refuses a tree of drafts, or computes it', async () => {
    const plain = stepOf(0, 0, 2);
    const segments = plain.segments.map((segment) => ({
      ...segment,
      visible: { ...segment.visible, ranges: Int32Array.of(0, 1, 1, 2) },
    }));
    const result = stage.logits({ ...plain, segments }, none);
    if (provider === 'cpu') expect((await result).length).toBe(300);
    else await expect(result).rejects.toThrow(/plain text only, .*: use --provider cpu/);
  });

  test('refuses text that begins in the middle of a conversation, or computes it', async () => {
    const result = stage.logits(stepOf(5, 0, 2), none);
    if (provider === 'cpu') expect((await result).length).toBe(300);
    else await expect(result).rejects.toThrow(/each conversation in its own cells/);
  });
});

test('the libraries of all platforms are found', () => {
  expect(findLibrary(['libonnxruntime.so.1', 'onnxruntime_binding.node'])).toBe(
    'libonnxruntime.so.1',
  );
  expect(findLibrary(['libonnxruntime.1.30.0.dylib', 'libonnxruntime.1.dylib'])).toBe(
    'libonnxruntime.1.dylib',
  );
  expect(findLibrary(['DirectML.dll', 'dxil.dll', 'onnxruntime.dll'])).toBe('onnxruntime.dll');
});
