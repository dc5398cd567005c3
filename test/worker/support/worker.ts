import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pino, { type Logger } from 'pino';
import { Turns } from '../../../stage/turns.js';
import { inquire } from '../../../transport/protocol/peers.js';
import { Worker, type WorkerOptions } from '../../../worker/worker.js';
import { FakeEngine } from '../../support/fake-engine.js';
import { TestCoordinator } from './coordinator.js';

/** A folder that is gone when it is disposed of. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'daisychain-worker-'));
  return {
    path: folder,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** A log whose lines are kept. */
export function keptLog(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const write = (line: string) => void lines.push((JSON.parse(line) as { msg: string }).msg);
  return { logger: pino({ level: 'info' }, { write }), lines };
}

/** A worker in this process. */
export class TestWorker implements AsyncDisposable {
  private constructor(
    readonly engine: FakeEngine,
    readonly log: readonly string[],
    readonly cacheDirectory: string,
    private readonly worker: Worker,
    private readonly folder: AsyncDisposable,
  ) {}

  static async start(options: Partial<WorkerOptions> = {}): Promise<TestWorker> {
    const folder = await temporaryFolder();
    const engine = new FakeEngine();
    const { logger, lines } = keptLog();
    const cacheDirectory = options.cacheDirectory ?? folder.path;
    const worker = await Worker.listen({
      host: '127.0.0.1',
      port: 0,
      engine,
      turns: new Turns(),
      channel: { transport: 'tcp' },
      softwareVersion: 'test',
      logger,
      ...options,
      cacheDirectory,
    });
    return new TestWorker(engine, lines, cacheDirectory, worker, folder);
  }

  get port(): number {
    return this.worker.port;
  }

  connect(): Promise<TestCoordinator> {
    return TestCoordinator.connect(this.port);
  }

  /** What it says of itself to whoever asks. */
  async welcome() {
    const hello = { softwareVersion: 'test', name: 'somebody' };
    return (await inquire({ host: '127.0.0.1', port: this.port, hello })).welcome;
  }

  /** Waits until it can take another coordinator. */
  async untilFree(): Promise<void> {
    while ((await this.welcome()).busy) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  close(): Promise<void> {
    return this.worker.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.worker.close();
    await this.folder[Symbol.asyncDispose]();
  }
}
