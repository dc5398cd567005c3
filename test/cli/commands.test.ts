import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BenchReport } from '../../cli/bench-report.js';
import type { DoctorReport } from '../../cli/doctor/report.js';
import type { RunReport } from '../../cli/run.js';
import { RunningCommand, childrenOf, runCommand } from '../support/cli.js';
import { clearTokens, goldenCases, repositoryPath } from '../support/golden.js';

const model = repositoryPath('models/demo.gguf');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-commands-'));
const busy = net.createServer();
beforeAll(() => new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve)));
afterAll(() => {
  busy.close();
  fs.rmSync(folder, { recursive: true });
});

function file(name: string, content: string | Uint8Array): string {
  const target = path.join(folder, name);
  fs.writeFileSync(target, content);
  return target;
}

const noSpeculation = {
  mode: 'off',
  drafted: 0,
  accepted: 0,
  acceptanceRate: 0,
  cancelledSteps: 0,
};

/** At this temperature, and from this seed, the model finds the end of its answer only after 986 tokens. */
const longAnswer = ['--temperature', '10', '--seed', '4'];

describe('run', () => {
  const [golden] = goldenCases('demo-q8_0.json');
  if (!golden) throw new Error('no golden case');

  test('keeps the contract of --json', async () => {
    const args = ['run', '-m', model, '--layers', '13,3', '--spawn', '--raw', '--json'];
    const { code, stdout, stderr } = await runCommand([...args, '--prompt', golden.prompt]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as RunReport;
    expect(Object.keys(report)).toEqual([
      'text',
      'reasoning',
      'tokens',
      'promptTokens',
      'reusedTokens',
      'finishReason',
      'ttftMs',
      'tokPerSec',
      'prefillTokPerSec',
      'speculation',
      'stages',
    ]);
    expect(report.speculation).toEqual(noSpeculation);
    const clear = clearTokens(golden);
    expect(report.tokens.slice(0, clear.length)).toEqual(clear);
    expect(report.promptTokens).toBe(golden.promptTokens.length);
    expect(report.finishReason).toBe('stop');
    expect(report.stages.map(({ layers }) => layers)).toEqual([13, 3]);
    for (const stage of report.stages)
      expect(Object.keys(stage)).toEqual(['layers', 'computeMs', 'idleShare']);
  });

  test('streams text, from stdin or messages, through the chat template', async () => {
    const question = 'What is 9 plus 5?';
    const fromStdin = await runCommand(['run', '-m', model, '-p', '-'], question);
    expect(fromStdin).toMatchObject({ code: 0, stderr: '' });
    expect(fromStdin.stdout).toMatch(/^9 \+ 5 = \d+\.\n$/);
    const messages = file('chat.json', JSON.stringify([{ role: 'user', content: question }]));
    const fromFile = await runCommand(['run', '-m', model, '--messages', messages]);
    expect(fromFile.stdout).toBe(fromStdin.stdout);
  });

  test('stops at --max-tokens, and gives the same text for the same seed', async () => {
    const flags = ['--temperature', '0.8', '--seed', '5', '--max-tokens', '20', '--json'];
    const args = ['run', '-m', model, '-p', 'Tell me a story about a dog.', ...flags];
    const [first, second] = await Promise.all([
      runCommand(args),
      runCommand([...args, '--spawn', '--layers', '8,8']),
    ]);
    const report = JSON.parse(first.stdout) as RunReport;
    expect(report.tokens).toHaveLength(20);
    expect(report.finishReason).toBe('length');
    expect((JSON.parse(second.stdout) as RunReport).tokens).toEqual(report.tokens);
  });

  test('gives what it has when it is interrupted', async () => {
    const prompt = ['-p', 'Tell me a story about a dog.', '--max-tokens', '2000'];
    await using run = new RunningCommand(['run', '-m', model, ...longAnswer, ...prompt]);
    await run.until(() => run.stdout.length > 20);
    run.child.kill('SIGINT');
    const { code, stdout, stderr } = await run.ended;
    expect({ code, stderr }).toEqual({ code: 130, stderr: '' });
    expect(stdout.endsWith('\n')).toBe(true);
  });
});

describe('speculation', () => {
  const question = ['-p', 'Tell me a story about a mouse.', '--json'];
  const chain = ['run', '-m', model, '--layers', '8,8', '--spawn', ...question];
  const draft = repositoryPath('models/demo-draft.gguf');

  test.each(['sync', 'pipelined', 'auto', 'off'])('%s gives the text without it', async (mode) => {
    const [plain, speculative] = await Promise.all([
      runCommand(chain),
      runCommand([...chain, '--draft', draft, '--speculate', mode]),
    ]);
    expect(speculative).toMatchObject({ code: 0, stderr: '' });
    const report = JSON.parse(speculative.stdout) as RunReport;
    expect(report.tokens).toEqual((JSON.parse(plain.stdout) as RunReport).tokens);
    if (mode === 'auto') return;
    expect(report.speculation.mode).toBe(mode);
    if (mode === 'off') expect(report.speculation).toEqual(noSpeculation);
    else expect(report.speculation.acceptanceRate).toBeGreaterThan(0.5);
  });

  test.each([
    ['n-grams', 'ngram'],
    ['n-grams and a model', `ngram+${draft}`],
  ])('%s draft, too', async (_, what) => {
    const list = 'Repeat this list twice: lantern, quiet, key, nine, Leo, dog, cat, bell, owl.';
    const flags = ['-p', list, '--json', '--speculate', 'pipelined', '--draft', what];
    const { code, stdout, stderr } = await runCommand(['run', '-m', model, ...flags]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { speculation } = JSON.parse(stdout) as RunReport;
    expect(speculation.accepted).toBeGreaterThan(10);
  });

  // Another model's tokens mean something else, even where there are as many.
  const otherVocabulary = fs.readFileSync(draft);
  otherVocabulary.write('Xhe', otherVocabulary.indexOf('The'));
  test.each([
    ['that is not there', 'none.gguf', 'no such model file'],
    ['with another vocabulary', file('other.gguf', otherVocabulary), 'vocabulary'],
    ['that is no model', file('no.gguf', 'hello there'), 'not a GGUF file'],
  ])('a draft %s costs one warning, not the answer', async (_, name, cause) => {
    const { code, stdout, stderr } = await runCommand([...chain, '--draft', name]);
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as RunReport).finishReason).toBe('stop');
    const [line, ...rest] = stderr.trimEnd().split('\n');
    expect(rest).toEqual([]);
    const { level, msg } = JSON.parse(line ?? '') as { level: number; msg: string };
    expect(level).toBe(40);
    expect(msg).toContain('going on without drafts: ');
    expect(msg).toContain(cause);
  });
});

describe('failures are one line on stderr', () => {
  const head = fs.readFileSync(model).subarray(0, 400_000);
  test.each([
    ['no model', ['run', '-p', 'x'], 2, 'no model: give --model FILE'],
    ['no prompt', ['run', '-m', model], 2, 'give one of --prompt TEXT, --messages FILE.json'],
    ['no ids', ['run', '-m', model, '--prompt-tokens', '1,x'], 2, 'wants ids like 1,2,3'],
    ['unknown id', ['run', '-m', model, '--prompt-tokens', '2048'], 2, 'has ids below 2048'],
    ['missing file', ['run', '-m', 'none.gguf', '-p', 'x'], 1, 'no such model file'],
    ['no GGUF', ['run', '-m', file('a', 'hello there'), '-p', 'x'], 1, 'not a GGUF file'],
    ['truncated', ['run', '-m', file('b', head), '-p', 'x'], 1, 'is truncated'],
    ['split', ['run', '-m', model, '-p', 'x', '--spawn', '--layers', '9,9'], 1, 'adds up to 18'],
    [
      'no workers',
      ['run', '-m', model, '-p', 'x', '--layers', '8,8'],
      2,
      'add --spawn or --worker',
    ],
    ['unreachable', ['run', '-m', model, '-p', 'x', '--worker', '127.0.0.1:1'], 1, 'cannot reach'],
    ['too long', ['run', '-m', model, '-p', 'x '.repeat(99), '--context', '16'], 1, '--context'],
    ['no memory', ['run', '-m', model, '-p', 'x', '--context', '9999999'], 1, 'not enough memory'],
    ['unknown flag', ['run', '--temprature', '1'], 2, 'Did you mean --temperature?'],
    ['bad value', ['run', '--codec', 'x'], 2, '--codec: expected one of'],
    ['bad config', ['chat', '--config', file('c', 'modle: x')], 2, 'did you mean "model"?'],
    ['oracle', ['run', '-m', model, '-p', 'x', '--draft', 'oracle:1'], 2, 'use it with bench'],
    ['oracle share', ['bench', '-m', model, '--draft', 'oracle:2'], 2, 'from 0 to 1'],
    ['no such mode', ['run', '-m', model, '--speculate', 'much'], 2, 'expected one of off, sync'],
    ['bad messages', ['run', '--messages', file('d', '[]')], 2, 'expected messages like'],
  ])('%s', async (_, args, code, message) => {
    const result = await runCommand(args);
    expect(result.stdout).toBe('');
    const lines = result.stderr.trimEnd().split('\n');
    const last = lines.pop();
    expect(last).toMatch(/^daisychain: /);
    expect(last).toContain(message);
    // Beside it there may be log lines, but no stack trace.
    for (const line of lines) expect(line).toMatch(/^\{.*\}$/);
    expect(result.code).toBe(code);
  });

  test('busy port', async () => {
    const { port } = busy.address() as net.AddressInfo;
    const { code, stderr } = await runCommand(['worker', '--port', String(port)]);
    expect(code).toBe(1);
    expect(stderr).toBe(
      `daisychain: port ${port} is in use on 127.0.0.1: end the other program or choose another --port\n`,
    );
  });
});

describe('chat with piped input', () => {
  const demo = ['chat', '--config', 'configs/local-demo.yaml'];

  test('answers line by line, without escape codes, and reuses what it has', async () => {
    const input = 'What is 9 plus 5?\nMy name is\\\nMax.\n/stats\n/exit\nnever\n';
    const { code, stdout, stderr } = await runCommand(demo, input);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).not.toContain('\x1b');
    const [header, answer, first, , second] = stdout.split('\n');
    expect(header).toContain('16 layers: 13 on coordinator');
    expect(answer).toMatch(/^9 \+ 5 = /);
    expect(first).toMatch(
      /^TTFT \d+ ms · [\d.]+ tok\/s · 7 tokens · 0 of 14 prompt tokens reused$/,
    );
    expect(second).toMatch(/· 20 of \d+ prompt tokens reused$/);
    expect(stdout).toContain('tokens in the context');
    expect(stdout).not.toContain('never');
  });

  test('says how to go on when the context is full, and keeps the conversation', async () => {
    const input = `What is 9 plus 5?\n${'story '.repeat(60)}\nWhat is 4 plus 4?\n`;
    const { code, stdout } = await runCommand([...demo, '--context', '48'], input);
    expect(code).toBe(0);
    expect(stdout).toMatch(/the text has \d+ tokens, the context holds 48.*\/reset/);
    expect(stdout).toContain('4 + 4 = ');
    expect(stdout.trimEnd()).toMatch(/· 20 of \d+ prompt tokens reused$/);
  });

  test.runIf(process.platform === 'linux')(
    'ends with the name of a worker that was killed, after what it had received',
    async () => {
      await using chat = new RunningCommand([...demo, ...longAnswer]);
      chat.child.stdin?.write('Tell me a story about a dog.\n');
      await chat.until(() => chat.stdout.split('\n').slice(1).join('').length > 20);
      const [worker = 0] = childrenOf(chat.child.pid ?? 0);
      process.kill(worker, 'SIGKILL');
      const { code, stdout, stderr } = await chat.ended;
      expect(code).toBe(1);
      expect(stdout).not.toContain('TTFT');
      expect(stdout.endsWith('\n')).toBe(true);
      expect(stderr).toMatch(/^daisychain: lost worker 127\.0\.0\.1:\d+: [^\n]+\n$/);
    },
  );
});

test('bench keeps the contract of --json', async () => {
  const flags = ['--layers', '8,8', '--spawn', '--prefill', '8', '--decode', '4', '--repeat', '1'];
  const { code, stdout, stderr } = await runCommand(['bench', '-m', model, ...flags, '--json']);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const report = JSON.parse(stdout) as BenchReport;
  expect(Object.keys(report).sort()).toEqual(
    ['machine', 'versions', 'plan', 'prefill', 'decode', 'ttftMs', 'stages', 'batching'].sort(),
  );
  expect(report.plan.stages.map(({ memory }) => memory.weights > 5e6)).toEqual([true, true]);
  // 16 layers with 2 heads of keys and of values, of 64 features in f16.
  expect(report.plan.totals).toMatchObject({ tokenBytes: 16 * 2 * 2 * 64 * 2, sequenceBytes: 0 });
  expect(report.prefill.tokens).toBe(8);
  expect(report.decode.tokens).toBe(4);
  expect(report.stages.map(({ steps, layers }) => [steps, layers])).toEqual([
    [4, 8],
    [4, 8],
  ]);
  const sampled = ['--decode', '4', '--temperature', '0.7', '--top-k', '40', '--typical-p', '0.9'];
  const { stdout: text } = await runCommand(['bench', '-m', model, ...sampled]);
  expect(text).toContain('everything but compute');
});

test('bench measures decoding after texts of several lengths', async () => {
  const sizes = ['--prefill', '8', '--decode', '4', '--repeat', '1', '--depth', '24,300'];
  const bench = ['bench', '-m', model, '--layers', '8,8', '--spawn', ...sizes];
  const { code, stdout, stderr } = await runCommand([...bench, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { plan, stages, depths } = JSON.parse(stdout) as BenchReport;
  expect(plan.context).toBe(512);
  expect(depths?.map(({ depth, decode }) => [depth, decode.tokens])).toEqual([
    [24, 4],
    [300, 4],
  ]);
  for (const { limit } of stages) {
    expect(limit.weights).toBeGreaterThan(5e6);
    expect(limit.memoryBytesPerSecond).toBeGreaterThan(1e8);
  }
  // Keys and values of 8 layers: 2 heads of 64 in f16, for the text and half of what was decoded. A cache of 512 cells
  // has room for some more.
  const cell = 8 * 2 * 2 * 64 * 2;
  for (const [i, cells] of [26, 302].entries())
    for (const { limit } of depths?.[i]?.stages ?? []) {
      expect(limit.kv / (cells * cell)).toBeGreaterThanOrEqual(1);
      expect(limit.kv / (cells * cell)).toBeLessThan(1.13);
    }
  const { stdout: text } = await runCommand(bench);
  expect(text).toMatch(/\n300 tokens +[\d.]+ +/);
  expect(text).toContain('bound by');
});

test.each([
  ['is missing', ['--compare', './none'], 1, 'cannot start ./none: ENOENT'],
  [
    'would be compared with other machines',
    ['--compare', 'x', '--worker', 'a:1'],
    2,
    'one machine',
  ],
  ['would see several', ['--compare', 'x', '--conversations', '2'], 2, 'one conversation'],
])('bench says in a line that llama-bench %s', async (_, flags, expected, line) => {
  const { code, stdout, stderr } = await runCommand(['bench', '-m', model, ...flags]);
  expect({ code, stdout }).toEqual({ code: expected, stdout: '' });
  expect(stderr).toMatch(/^daisychain: [^\n]+\n$/);
  expect(stderr).toContain(line);
});

test('bench with drafts reports them, and says where they are a simulation', async () => {
  const flags = [
    '--layers',
    '8,8',
    '--spawn',
    '--prefill',
    '8',
    '--decode',
    '100',
    '--repeat',
    '2',
  ];
  const oracle = ['--draft', 'oracle:0.8', '--speculate', 'pipelined'];
  const bench = ['bench', '-m', model, ...flags, ...oracle];
  const { code, stdout, stderr } = await runCommand([...bench, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { speculation, draft } = JSON.parse(stdout) as BenchReport;
  expect(draft).toEqual({ name: 'oracle:0.8', simulation: true });
  expect(speculation?.mode).toBe('pipelined');
  expect(speculation?.acceptanceRate).toBeGreaterThan(0.6);
  expect(speculation?.acceptanceRate).toBeLessThan(0.95);
  expect(speculation?.drafted).toBeGreaterThan(50);
  expect(speculation?.off.tokens).toBe(100);
  const { stdout: text } = await runCommand(bench);
  expect(text).toContain('SIMULATION');
  expect(text).toMatch(/[\d.]+ x off/);
});

test('bench measures conversations that decode at once, after all prompts', async () => {
  const sizes = ['--prefill', '8', '--decode', '4', '--repeat', '1', '--conversations', '2'];
  const args = ['bench', '-m', model, '--layers', '8,8', '--spawn', ...sizes, '--json'];
  const { code, stdout, stderr } = await runCommand(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const report = JSON.parse(stdout) as BenchReport;
  expect(report.decode.tokens).toBe(4);
  expect(report.stages.map(({ steps }) => steps)).toEqual([8, 8]);
  expect(report.conversations).toMatchObject({ count: 2, shared: 0 });
});

test('bench measures conversations that arrive one by one', async () => {
  const sizes = ['--prefill', '24', '--decode', '4', '--repeat', '1', '--conversations', '4'];
  const crowd = ['--arrive', 'poisson:50', '--shared-prefix', '16'];
  const args = ['bench', '-m', model, ...sizes, ...crowd, '--json'];
  const { code, stdout, stderr } = await runCommand(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { decode, conversations } = JSON.parse(stdout) as BenchReport;
  expect(decode.tokens).toBe(4);
  expect(decode.tokPerSec).toBeGreaterThan(0);
  expect(conversations).toMatchObject({ count: 4, shared: 16, arrive: 50 });
  const { ttftMs, tpotMs, fairness = 0, longestWaitMs = 0 } = conversations ?? {};
  expect(ttftMs?.p99).toBeGreaterThanOrEqual(ttftMs?.p50 ?? NaN);
  expect(tpotMs?.p99).toBeGreaterThanOrEqual(tpotMs?.p50 ?? NaN);
  expect(fairness).toBeGreaterThanOrEqual(1);
  expect(longestWaitMs).toBeGreaterThanOrEqual(ttftMs?.p99 ?? NaN);
});

test.each([
  ['no such way to arrive', ['--arrive', 'often'], 'as in poisson:2'],
  ['nobody arrives', ['--arrive', 'poisson:0'], 'as in poisson:2'],
  ['arrivals after texts of several lengths', ['--arrive', 'poisson:1', '--depth', '9'], '--depth'],
  ['more in common than there is', ['--prefill', '8', '--shared-prefix', '9'], 'give --prefill 9'],
  ['a prompt has no random prefix', ['-p', 'x', '--shared-prefix', '9'], 'leave out --prompt'],
  [
    'one recorded text for all',
    ['--draft', 'oracle:1', '--shared-prefix', '9'],
    'leave out --shared-prefix',
  ],
])('bench refuses in a line: %s', async (_, flags, line) => {
  const { code, stdout, stderr } = await runCommand(['bench', '-m', model, ...flags]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(/^daisychain: [^\n]+\n$/);
  expect(stderr).toContain(line);
});

test('bench counts which experts tokens go through, on all stages', async () => {
  const sizes = ['--prefill', '24', '--decode', '6', '--repeat', '1', '--experts'];
  const bench = ['bench', '--synthetic', 'tiny-qwen3moe', ...sizes, '--json'];
  const whole = await runCommand(bench);
  const split = await runCommand([...bench, '--layers', '1,2', '--spawn']);
  expect(split).toMatchObject({ code: 0, stderr: '' });
  const { experts } = JSON.parse(split.stdout) as BenchReport;
  expect(experts).toEqual((JSON.parse(whole.stdout) as BenchReport).experts);
  // Of a prompt the last layer's experts compute the last row alone, whose successor is wanted.
  for (const [use, layerRows, steps] of [
    [experts?.prefill, [24, 24, 1], 1],
    [experts?.decode, [6, 6, 6], 6],
  ] as const) {
    expect(use?.layers).toMatchObject(layerRows.map((rows, layer) => ({ layer, rows, steps })));
    for (const { counts, rows } of use?.layers ?? [])
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(2 * rows);
  }
  expect(experts?.decode.bytesPerToken).toBe(experts?.decode.bytesAlone);
});

test.each([
  ['in a dense model', ['-m', model], 'of the qwen3 family, has none'],
  ['with ONNX Runtime', ['--synthetic', 'tiny-mixtral', '--engine', 'onnx'], '--engine ggml'],
])('bench says in a line that there are no experts to count %s', async (_, flags, line) => {
  const { code, stdout, stderr } = await runCommand(['bench', ...flags, '--experts']);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(/^daisychain: --experts [^\n]+\n$/);
  expect(stderr).toContain(line);
});

/** A worker that holds the model file, and where it listens. */
async function startWorker() {
  const worker = new RunningCommand(['worker', '--port', '0', '-m', model]);
  await worker.until(() => worker.stderr.includes('listening on '));
  const [, address = ''] = /listening on (127\.0\.0\.1:\d+)/.exec(worker.stderr) ?? [];
  return { address, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}

test('doctor shows devices, a model file and workers', async () => {
  await using worker = await startWorker();
  const { address } = worker;
  const args = ['doctor', '-m', model, '--worker', address, '127.0.0.1:1', '--json'];
  const { code, stdout } = await runCommand(args);
  expect(code).toBe(1);
  const report = JSON.parse(stdout) as DoctorReport;
  expect(report.devices.map(({ kind }) => kind)).toContain('cpu');
  expect(report.model).toMatchObject({ architecture: 'qwen3', layers: 16, vocabulary: 2048 });
  expect(report.workers).toMatchObject([
    { address, reachable: true, model: report.model?.fingerprint },
    { address: '127.0.0.1:1', reachable: false },
  ]);
});

test('doctor asks a worker that is busy, and leaves it to its coordinator', async () => {
  await using worker = await startWorker();
  const { address } = worker;
  const ask = async () => {
    const { stdout } = await runCommand(['doctor', '--worker', address, '--json']);
    return (JSON.parse(stdout) as DoctorReport).workers;
  };
  const facts = {
    reachable: true,
    engine: 'ggml',
    machineId: expect.stringMatching(/./) as string,
  };
  expect(await ask()).toMatchObject([{ ...facts, busy: false }]);
  const split = ['--worker', address, '--layers', '8,8'];
  await using chat = new RunningCommand(['chat', '-m', model, '--temperature', '0', ...split]);
  await chat.until(() => chat.stdout.includes('context'));
  expect(await ask()).toMatchObject([{ ...facts, busy: true }]);
  const { stdout } = await runCommand(['doctor', '--worker', address]);
  expect(stdout).toMatch(/reachable, round trip [\d.]+ ms, busy with a coordinator\n/);
  chat.child.stdin?.end('What is 9 plus 5?\n');
  expect((await chat.ended).stdout).toContain('9 + 5 = ');
});

test('help and version go to stdout', async () => {
  const help = await runCommand(['help', 'chat']);
  expect(help).toMatchObject({ code: 0, stderr: '' });
  expect(help.stdout).toContain('Examples:');
  const { version } = JSON.parse(fs.readFileSync(repositoryPath('package.json'), 'utf8')) as {
    version: string;
  };
  expect(await runCommand(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});
