import { afterEach, describe, expect, test, vi } from 'vitest';
import type { DoctorReport } from '../../cli/doctor/report.js';
import { workerArguments } from '../../app/worker-command.js';
import { RunningCommand, runCommand } from '../support/cli.js';
import { repositoryPath } from '../support/golden.js';

const model = repositoryPath('models/demo.gguf');
const run = ['run', '-m', model, '-p', 'What is speculative decoding?'];
const onnx = ['--engine', 'onnx'];

test('both engines give the same answer', async () => {
  const expected = await runCommand(run);
  expect(expected.code).toBe(0);
  expect(expected.stdout.length).toBeGreaterThan(100);
  expect(await runCommand([...run, ...onnx])).toEqual(expected);
  expect(await runCommand([...run, ...onnx, '--spawn', '--layers', '5,6,5'])).toEqual(expected);
});

test('keys and values of 8 bits are calibrated with a text of our own', async () => {
  const expected = await runCommand(run);
  const eightBits = [...onnx, '--kv-type', 'q8_0'];
  expect(await runCommand([...run, ...eightBits])).toEqual(expected);
  expect(await runCommand([...run, ...eightBits, '--spawn', '--layers', '9,7'])).toEqual(expected);
});

test.each([
  { coordinator: [], worker: onnx },
  { coordinator: onnx, worker: [] },
])('a coordinator with $coordinator and a worker with $worker', async (engines) => {
  await using worker = new RunningCommand(['worker', '--port', '0', ...engines.worker]);
  await worker.until(() => worker.stderr.includes('listening on '));
  const port = /listening on 127\.0\.0\.1:(\d+)/.exec(worker.stderr)?.[1] ?? '';
  const chain = ['--worker', `127.0.0.1:${port}`, '--layers', '9,7', '--codec', 'f32'];
  const expected = await runCommand(run);
  expect(await runCommand([...run, ...engines.coordinator, ...chain])).toEqual(expected);
});

test('workers get the engine of the command that starts them', () => {
  const settings = { engine: 'onnx', provider: 'cpu', requantize: true } as const;
  expect(workerArguments(settings).join(' ')).toContain(
    ' --engine onnx --provider cpu --requantize ',
  );
  expect(workerArguments({ requantize: false })).not.toContain('--requantize');
});

describe('what does not go together is refused', () => {
  test.each([
    [['--provider', 'cpu'], /^daisychain: --provider needs --engine onnx$/],
    [['--requantize'], /^daisychain: --requantize needs --engine onnx$/],
    [[...onnx, '--device', 'cpu'], /^daisychain: --device is for --engine ggml: /],
    [['--engine', 'torch'], /^daisychain: --engine: expected one of ggml, onnx, not "torch"$/],
  ])('%j', async (flags, message) => {
    const { code, stderr } = await runCommand([...run, ...flags]);
    expect(code).toBe(2);
    expect(stderr.trim()).toMatch(message);
  });

  test('keys and values of 4 bits on onnx, here and in a worker', async () => {
    const fourBits = [...run, '--kv-type', 'q4_0'];
    const cause = 'onnx keeps keys and values as f32 or in 8 bits, not as q4_0: use --kv-type q8_0';
    for (const flags of [onnx, [...onnx, '--spawn', '--layers', '0,16']]) {
      const { code, stderr } = await runCommand([...fourBits, ...flags]);
      expect(code).toBe(1);
      const said = stderr.split('\n').filter((line) => line.startsWith('daisychain: '));
      expect(said).toEqual([expect.stringContaining(cause)]);
    }
  });

  test('quantizations that onnx lacks, unless they may become 8 bits', async () => {
    const other = ['-m', repositoryPath('models/demo-q4_0.gguf'), ...onnx];
    const refused = await runCommand([...run, ...other]);
    expect(refused.code).toBe(1);
    expect(refused.stderr.trim()).toMatch(
      /^daisychain: unsupported quantization: .* tensor token_embd.weight is q6_K: use --requantize/,
    );
    const { code, stdout } = await runCommand([...run, ...other, '--requantize']);
    expect(code).toBe(0);
    expect(stdout).toContain('draft');
  });
});

afterEach(() => {
  vi.unstubAllEnvs();
});

test.runIf(process.platform === 'linux')('a machine without a GPU says so', async () => {
  vi.stubEnv('VK_DRIVER_FILES', '/nonexistent');
  const { stdout } = await runCommand(['doctor', '--json']);
  const { providers } = JSON.parse(stdout) as DoctorReport;
  const problem = providers.find(({ name }) => name === 'webgpu')?.problem;
  expect(problem).toMatch(
    /^(cannot use WebGPU: \S.*adapter|ONNX Runtime for .* is built without it)/,
  );
  const { code, stderr } = await runCommand([...run, ...onnx, '--provider', 'webgpu']);
  expect(code).toBe(1);
  expect(stderr).toBe(`daisychain: --provider webgpu: ${problem}: use --provider cpu\n`);
});

test('doctor says which providers there are, and what keeps the others away', async () => {
  const { stdout } = await runCommand(['doctor', '--json']);
  const { providers } = JSON.parse(stdout) as DoctorReport;
  expect(providers.map(({ name }) => name)).toEqual(['cpu', 'webgpu', 'coreml', 'dml']);
  expect(providers[0]).not.toHaveProperty('problem');
  const { code, stderr } = await runCommand([...run, ...onnx, '--provider', 'dml']);
  if (process.platform === 'win32') return;
  expect(code).toBe(1);
  const problem = providers.find(({ name }) => name === 'dml')?.problem;
  expect(stderr).toBe(`daisychain: --provider dml: ${problem}: use --provider cpu\n`);
});
