import { spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './golden.js';

const program = fileURLToPath(new URL('dist/cli/daisychain.js', root));

/** How a command ended and what it wrote. */
export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs as a process of its own, with a home folder of its own. */
export class RunningCommand implements AsyncDisposable {
  stdout = '';
  stderr = '';
  readonly ended: Promise<CommandResult>;
  readonly child: ChildProcess;
  #waiting: (() => void)[] = [];

  /** @param home its home folder; default: one of its own */
  constructor(args: readonly string[], input?: string, home?: string) {
    const state = home ?? fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-cli-'));
    this.child = spawn(process.execPath, [program, ...args], {
      cwd: fileURLToPath(root),
      env: {
        ...process.env,
        DAISYCHAIN_SECRET: 'a secret that only tests know',
        XDG_STATE_HOME: state,
        XDG_CACHE_HOME: state,
        HOME: state,
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.child.stdin?.on('error', () => undefined);
    if (input !== undefined) this.child.stdin?.end(input);
    this.child.stdout?.on('data', (data: Buffer) => this.#add({ stdout: data.toString() }));
    this.child.stderr?.on('data', (data: Buffer) => this.#add({ stderr: data.toString() }));
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code) => {
        if (home === undefined) fs.rmSync(state, { recursive: true, force: true });
        resolve({ code, stdout: this.stdout, stderr: this.stderr });
        this.#add({});
      });
    });
  }

  /** Waits until `found` is true of what was written. @throws Error when the process ends before */
  async until(found: () => boolean): Promise<void> {
    while (!found()) {
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`ended too early: ${this.stdout}${this.stderr}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  #add({ stdout = '', stderr = '' }): void {
    this.stdout += stdout;
    this.stderr += stderr;
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** Runs a command to its end. @param input what it finds on stdin */
export function runCommand(args: readonly string[], input = ''): Promise<CommandResult> {
  return new RunningCommand(args, input).ended;
}

/** Processes that were started by another one (Linux). */
export function childrenOf(pid: number): number[] {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).map(Number);
}

/** Resolves when a process is gone. */
export async function untilGone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
