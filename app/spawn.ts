import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { WorkerAddress } from '../coord/remote-worker.js';
import { DaisychainError } from '../step/errors.js';
import { secretVariable } from './cluster-secret.js';
import { UsageError } from './errors.js';
import { logsArePretty, prettyLogsVariable } from './logging.js';
import { program } from './package.js';
import type { Settings } from './settings/settings.js';
import { loopback, workerArguments, type Announcement } from './worker-command.js';

/** A worker gets this long to listen, and to end when asked. */
const startMs = 30_000;
const endMs = 1_000;

/** Why a worker could not be started. */
export type SpawnErrorCode =
  /** Its process could not be started, or ended, or said something else than expected. */
  | 'failed'
  /** It did not listen in time. */
  | 'timeout';

/** A worker could not be started. The message is one line with what it said. */
export class SpawnError extends DaisychainError<SpawnErrorCode> {
  override readonly name = 'SpawnError';
}

/** Workers that we started on this machine. They live no longer than their stdin, so no longer than this process. */
export class SpawnedWorkers implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];
  #addresses: WorkerAddress[] = [];

  /**
   * Starts `count` workers and waits until they listen.
   * @param secretText that they share with the coordinator; without it they are insecure
   * @param cores to bind them to, in their order; empty to leave them free
   * @throws SpawnError of the first that does not; the others are ended
   */
  static async start(
    count: number,
    settings: Settings,
    cores: readonly number[],
    secretText?: string,
  ): Promise<SpawnedWorkers> {
    const workers = new SpawnedWorkers();
    const starts = Array.from({ length: count }, (_, i) =>
      workers.#start(i + 1, workerArguments(settings, cores[i]), secretText),
    );
    try {
      workers.#addresses = await Promise.all(starts);
      return workers;
    } catch (error) {
      await workers.end();
      throw error;
    }
  }

  /** Where they listen, in pipeline order. */
  get addresses(): readonly WorkerAddress[] {
    return this.#addresses;
  }

  /** Ends one worker at once, without a chance to say goodbye; or sends it another signal. */
  kill(index: number, signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#children[index]?.kill(signal);
  }

  /** Ends all workers; those that do not end in time are killed. */
  async end(): Promise<void> {
    await Promise.all(this.#children.map(endProcess));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }

  async #start(
    index: number,
    given: readonly string[],
    secretText: string | undefined,
  ): Promise<WorkerAddress> {
    const security = secretText === undefined ? ['--insecure', '--log-level', 'error'] : [];
    const child = spawn(process.execPath, [program, ...given, ...security], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...(logsArePretty() ? { [prettyLogsVariable]: '1' } : {}),
        ...(secretText === undefined ? {} : { [secretVariable]: secretText }),
      },
      windowsHide: true,
    });
    this.#children.push(child);
    const { port } = await announcement(child, index);
    child.stderr?.on('data', (data: Buffer) => process.stderr.write(data));
    return { host: loopback, port };
  }
}

/** Workers to start for a split: all stages but the coordinator's own. @throws UsageError */
export function spawnCount({ layers }: Pick<Settings, 'layers'>): number {
  if (layers?.length === 1)
    throw new UsageError(
      'combination',
      '--spawn starts workers, but --layers has one count: leave one of them out',
    );
  return layers ? layers.length - 1 : 1;
}

/** Waits for a worker's announcement. */
function announcement(child: ChildProcess, index: number): Promise<Announcement> {
  let said = '';
  const collect = (data: Buffer) => (said = (said + data.toString()).slice(-10_000));
  child.stderr?.on('data', collect);
  return new Promise<Announcement>((resolve, reject) => {
    const fail = (what: string, code: SpawnErrorCode = 'failed', cause?: unknown) => {
      clearTimeout(timer);
      const lines = said.trim().split('\n');
      const reason = lines.find((line) => line.startsWith('daisychain: '));
      const why = reason?.slice('daisychain: '.length) ?? what;
      reject(new SpawnError(code, `could not start worker ${index}: ${why}`, { cause }));
    };
    const timer = setTimeout(
      () => fail(`it did not listen within ${startMs / 1000} s`, 'timeout'),
      startMs,
    );
    child.once('error', (error) => fail(error.message, 'failed', error));
    child.once('close', (code, signal) => fail(`it ended with ${signal ?? `code ${code}`}`));
    // An ended worker breaks this pipe; that it ended is noticed elsewhere.
    child.stdin?.on('error', () => undefined);
    if (child.stdout)
      createInterface({ input: child.stdout }).once('line', (line) => {
        clearTimeout(timer);
        child.stderr?.off('data', collect);
        if (said) process.stderr.write(said);
        try {
          resolve(JSON.parse(line) as Announcement);
        } catch (error) {
          fail('it did not say where it listens', 'failed', error);
        }
      });
  });
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), endMs);
  await ended;
  clearTimeout(timer);
}
