import { spawn } from 'node:child_process';
import type { KvType } from '../engine/engine.js';
import { DaisychainError } from '../step/errors.js';

export type LlamaBenchErrorCode =
  /** There is no such program. */
  | 'missing'
  /** It failed, or said something else than expected. */
  | 'failed';

/** llama-bench could not be used. The message is one line. */
export class LlamaBenchError extends DaisychainError<LlamaBenchErrorCode> {
  override readonly name = 'LlamaBenchError';
}

/** What llama-bench is to compute with. */
export interface LlamaBenchOptions {
  /** Its file, or its name where it is on PATH. */
  readonly program: string;
  readonly model: string;
  readonly threads: number;
  /** Cores to bind it to (Linux, by taskset); empty leaves it where we are. */
  readonly cores: readonly number[];
  readonly kvType: KvType;
  /** Whether it may use no GPU. */
  readonly onCpu: boolean;
}

/** What it is to do: read a prompt, or continue a text. */
export type LlamaBenchTest =
  { readonly prompt: number } | { readonly depth: number; readonly generate: number };

/** A line of what it prints with `-o json`. */
interface Printed {
  readonly avg_ts?: unknown;
}

/**
 * Runs llama.cpp's own benchmark once.
 * @returns tokens per second
 * @throws LlamaBenchError
 */
export async function runLlamaBench(
  options: LlamaBenchOptions,
  test: LlamaBenchTest,
  flashAttention: boolean,
): Promise<number> {
  const output = await run(options, argumentsFor(options, test, flashAttention));
  try {
    const [printed] = JSON.parse(output) as Printed[];
    if (typeof printed?.avg_ts === 'number') return printed.avg_ts;
  } catch {
    // Said below.
  }
  throw new LlamaBenchError('failed', `${options.program} printed no result with -o json`);
}

function argumentsFor(
  { model, threads, kvType, onCpu }: LlamaBenchOptions,
  test: LlamaBenchTest,
  flashAttention: boolean,
): string[] {
  const what =
    'prompt' in test
      ? ['-p', String(test.prompt), '-n', '0']
      : ['-p', '0', '-n', String(test.generate), '-d', String(test.depth)];
  return [
    ...['-m', model, '-t', String(threads), ...what, '-r', '1', '-o', 'json'],
    ...['-fa', flashAttention ? '1' : '0', '-ctk', kvType, '-ctv', kvType],
    ...(onCpu ? ['-ngl', '0'] : []),
  ];
}

/** @returns what it printed */
function run({ program, cores }: LlamaBenchOptions, given: readonly string[]): Promise<string> {
  const bound = cores.length > 0 ? ['taskset', '-c', cores.join(','), program] : [program];
  const [command = program, ...rest] = [...bound, ...given];
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true });
  let output = '';
  let said = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (said = (said + data.toString()).slice(-10_000)));
  return new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const remedy =
        command === program
          ? 'install llama.cpp, or say --compare /path/to/llama-bench'
          : 'leave out --pin';
      const message = `cannot start ${command}: ${cause.code}: ${remedy}`;
      reject(new LlamaBenchError('missing', message, { cause }));
    });
    child.once('close', (code, signal) => {
      if (code === 0) return resolve(output);
      const last = said.trim().split('\n').at(-1);
      const how = `${signal ?? `code ${code}`}${last ? `: ${last}` : ''}`;
      reject(new LlamaBenchError('failed', `${program} ended with ${how}`));
    });
  });
}
