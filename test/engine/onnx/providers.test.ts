import { describe, expect, test } from 'vitest';
import { EngineError } from '../../../engine/engine.js';
import { bindOnnxRuntime } from '../../../engine/onnx/bindings.js';
import { findLibrary } from '../../../engine/onnx/library.js';
import { openOnnxEngine } from '../../../engine/onnx/onnx-engine.js';
import { probeProviders } from '../../../engine/onnx/probe.js';
import { openGguf } from '../../../model/gguf/reader.js';
import { packedWeightsFolder } from '../../support/engines.js';
import { clearTokens, goldenCases, repositoryPath } from '../../support/golden.js';
import { generate, loadStages } from '../../support/local-stages.js';

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
      const first = tokens.findIndex((token, i) => token !== expected[i]);
      // Devices round differently, so a choice that was close may turn; what follows it is another text.
      if (first >= 0) expect(golden.margins[first]).toBeLessThan(0.2);
    }
    for (const stage of stages) stage.dispose();
    await source.close();
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
