import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LlamaBenchTurns } from '../../bench/comparison.js';
import { LlamaBenchError, type LlamaBenchOptions } from '../../bench/llama-bench.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A program that keeps what it was given, line by line, and then does as told. */
async function program(name: string, does: string): Promise<LlamaBenchOptions> {
  const file = path.join(folder, name);
  await writeFile(file, `#!/bin/sh\necho "$@" >> ${file}.log\n${does}\n`);
  await chmod(file, 0o755);
  return { program: file, model: 'm.gguf', threads: 2, cores: [], kvType: 'f16', onCpu: true };
}

async function given({ program: file }: LlamaBenchOptions): Promise<string[]> {
  return (await readFile(`${file}.log`, 'utf8')).trim().split('\n');
}

/** Faster with flash attention, or without it. */
const rates = (on: number, off: number) =>
  `case "$*" in *"-fa 1"*) rate=${on};; *) rate=${off};; esac; echo "[{\\"avg_ts\\": $rate}]"`;

describe('turns with llama-bench', () => {
  test('are taken with and without flash attention, then with what is faster', async () => {
    const options = await program('both', rates(20, 40));
    const turns = new LlamaBenchTurns(options, { depth: 512, generate: 16 });
    for (let i = 0; i < 3; i++) await turns.take();
    expect(turns.against(60)).toEqual({
      test: 'decode',
      tokens: 512,
      tokPerSec: 60,
      theirs: { tokPerSec: 40, flashAttention: false },
      ratio: 1.5,
    });
    const same = '-m m.gguf -t 2 -p 0 -n 16 -d 512 -r 1 -o json';
    const line = (flash: number) => `${same} -fa ${flash} -ctk f16 -ctv f16 -ngl 0`;
    expect(await given(options)).toEqual([line(1), line(0), line(0), line(0)]);
  });

  test('read prompts', async () => {
    const options = await program('prompt', rates(200, 100));
    const turns = new LlamaBenchTurns(options, { prompt: 128 });
    await turns.take();
    expect(turns.against(300)).toMatchObject({ test: 'prefill', tokens: 128, ratio: 1.5 });
    expect((await given(options))[0]).toContain('-p 128 -n 0 -r 1');
  });

  test('keep quantized values with flash attention only', async () => {
    const options = { ...(await program('quantized', rates(20, 40))), kvType: 'q8_0' as const };
    const turns = new LlamaBenchTurns(options, { depth: 1, generate: 1 });
    await turns.take();
    expect(turns.against(20).theirs).toEqual({ tokPerSec: 20, flashAttention: true });
    expect(await given(options)).toHaveLength(1);
  });

  test.skipIf(os.platform() !== 'linux')('are bound to cores', async () => {
    const options = await program('bound', `${rates(1, 1)}; taskset -cp $$ >> $0.log`);
    const turns = new LlamaBenchTurns({ ...options, cores: [0] }, { prompt: 1 });
    // Nothing but JSON is a result.
    await expect(turns.take()).resolves.toBeUndefined();
    expect((await given(options))[1]).toMatch(/: 0$/);
  });

  test.each([
    ['says why it failed', 'echo "loading" >&2; echo "no such model" >&2; exit 3', 'no such model'],
    ['fails without a word', 'exit 3', 'ended with code 3'],
    ['prints something else', 'echo hello', 'printed no result with -o json'],
    ['prints other JSON', 'echo "[{}]"', 'printed no result with -o json'],
  ])('end in one line when it %s', async (name, does, line) => {
    const options = await program(name.replaceAll(' ', '-'), does);
    const turn = new LlamaBenchTurns(options, { prompt: 1 }).take();
    await expect(turn).rejects.toThrow(LlamaBenchError);
    await expect(turn).rejects.toThrow(new RegExp(`^[^\n]*${line}[^\n]*$`));
  });

  test('end in one line when it is missing', async () => {
    const options = { ...(await program('x', '')), program: path.join(folder, 'none') };
    const turn = new LlamaBenchTurns(options, { prompt: 1 }).take();
    await expect(turn).rejects.toThrow(/^cannot start [^\n]*none: ENOENT: install llama.cpp/);
  });
});
