import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { WorkerAddress } from '../coord/remote-worker.js';
import { secretVariable } from './cluster-secret.js';
import { UsageError } from './errors.js';
import { logsArePretty, prettyLogsVariable } from './logging.js';
import { engineSettings } from './options.js';
import { nameInFile, type SettingName, type Settings } from './settings.js';

const program = fileURLToPath(new URL('daisychain.js', import.meta.url));

/** What a worker started with `--announce` writes to stdout, as one line of JSON, when it listens. */
export interface Announcement {
  readonly port: number;
}

/** A worker gets this long to listen, and to end when asked. */
const startMs = 30_000;
const endMs = 1_000;

const loopback = '127.0.0.1';

/** A worker cannot be started. The message is one line with what it said. */
export class SpawnError extends Error {
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
   * @throws SpawnError when one does not.
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
    const results = await Promise.allSettled(starts);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) {
      await workers.end();
      throw failed.reason;
    }
    workers.#addresses = await Promise.all(starts);
    return workers;
  }

  /** Where they listen, in pipeline order. */
  get addresses(): readonly WorkerAddress[] {
    return this.#addresses;
  }

  /** Ends one worker at once, without a chance to say goodbye. */
  kill(index: number): void {
    this.#children[index]?.kill('SIGKILL');
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
      '--spawn starts workers, but --layers has one count: leave one of them out',
    );
  return layers ? layers.length - 1 : 1;
}

/** Settings that a worker shares with the coordinator that starts it. */
const passedOn: readonly SettingName[] = ['synthetic', 'type', ...engineSettings, 'logLevel'];

/** The command line of a worker. @param core to bind it to */
export function workerArguments(settings: Settings, core?: number): string[] {
  const given = ['worker', '--announce', '--host', loopback, '--port', '0'];
  const add = (name: SettingName, value: string | number | boolean | undefined) => {
    if (value === undefined || value === false) return;
    given.push(`--${nameInFile(name)}`, ...(value === true ? [] : [String(value)]));
  };
  for (const name of passedOn) add(name, settings[name] as string | number | boolean | undefined);
  add('model', settings.model && path.resolve(settings.model));
  add('cacheDir', settings.cacheDir && path.resolve(settings.cacheDir));
  add('core', core);
  if (settings.logLevel === undefined) add('logLevel', 'warn');
  return given;
}

/** Waits for a worker's announcement. */
function announcement(child: ChildProcess, index: number): Promise<Announcement> {
  let said = '';
  const collect = (data: Buffer) => (said = (said + data.toString()).slice(-10_000));
  child.stderr?.on('data', collect);
  return new Promise<Announcement>((resolve, reject) => {
    const fail = (what: string) => {
      clearTimeout(timer);
      const lines = said.trim().split('\n');
      const reason = lines.find((line) => line.startsWith('daisychain: '));
      reject(
        new SpawnError(
          `could not start worker ${index}: ${reason?.slice('daisychain: '.length) ?? what}`,
        ),
      );
    };
    const timer = setTimeout(() => fail(`it did not listen within ${startMs / 1000} s`), startMs);
    child.once('error', ({ message }) => fail(message));
    child.once('close', (code, signal) => fail(`it ended with ${signal ?? `code ${code}`}`));
    // An ended worker breaks this pipe; that it ended is noticed elsewhere.
    child.stdin?.on('error', () => undefined);
    if (child.stdout)
      createInterface({ input: child.stdout }).once('line', (line) => {
        clearTimeout(timer);
        child.stderr?.off('data', collect);
        if (said) process.stderr.write(said);
        resolve(JSON.parse(line) as Announcement);
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
