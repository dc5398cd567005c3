import os from 'node:os';
import type { Logger } from 'pino';
import type { Engine } from '../engine/engine.js';
import type { TensorSource } from '../model/tensor-source.js';
import { PageStore } from '../stage/page-files/page-store.js';
import type { Turns } from '../stage/turns.js';
import type { Answer, Hello } from '../transport/protocol/handshake.js';
import type { ChannelChoices } from '../transport/protocol/open-channel.js';
import { listen } from '../transport/protocol/peers.js';
import type { Connection } from '../transport/wire/connection.js';
import type { ClusterSecret } from '../transport/wire/security.js';
import type { Listener } from '../transport/wire/tcp.js';
import { machineId } from './machine-id.js';
import { Session } from './session.js';
import { TensorCache } from './tensor-cache.js';

export interface WorkerOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly engine: Engine;
  /** Of the engine's device. */
  readonly turns: Turns;
  /** The model, where the worker holds it itself; otherwise the coordinator sends the shard. */
  readonly model?: TensorSource;
  /** Where shards that the coordinator sends are kept. */
  readonly cacheDirectory: string;
  /**
   * Bytes of shards to keep: what was not asked for longest goes first, when another needs room. A shard that is larger
   * is kept alone. Default: 10 % of the disk, but at least 20 GB and at most 500 GB.
   */
  readonly cacheLimit?: number;
  /** Bytes of pages' keys and values to keep on disk; see `PageStore`. */
  readonly kvDisk?: number | undefined;
  /** Coordinators and stages must know it; without it anyone who reaches the port may use the worker. */
  readonly secret?: ClusterSecret;
  /** How tensors travel; default: as the coordinator wants it. */
  readonly channel?: ChannelChoices;
  readonly softwareVersion: string;
  readonly logger: Logger;
}

/** A process that holds stages for whichever coordinator came first. */
export class Worker {
  readonly #cache: TensorCache;
  readonly #pageStore: PageStore;
  #machineId = '';
  #listener!: Listener;
  #sessionId: string | undefined;
  #session: Session | undefined;
  #closed: Promise<void> | undefined;

  private constructor(private readonly options: WorkerOptions) {
    const { cacheDirectory, cacheLimit, kvDisk, logger } = options;
    this.#cache = new TensorCache({ cacheDirectory, limitBytes: cacheLimit, logger });
    this.#pageStore = new PageStore({ cacheDirectory, limitBytes: kvDisk, logger });
  }

  /** Begins to listen. @throws TransportError 'port' */
  static async listen(options: WorkerOptions): Promise<Worker> {
    const worker = new Worker(options);
    await worker.#cache.removeLeftovers();
    worker.#machineId = await machineId(options.cacheDirectory);
    worker.#listener = await listen({
      host: options.host,
      port: options.port,
      secret: options.secret,
      answer: (hello) => worker.#answer(hello),
      onConnection: (connection, hello) => worker.#accept(connection, hello),
      onRejected: (reason) => options.logger.warn(`turned away: ${reason.message}`),
    });
    return worker;
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Resolves when all memory is free. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  /** @throws TransportError 'refused' */
  #answer(hello: Hello): Answer {
    const welcome = this.#welcome();
    switch (hello.role) {
      case 'info':
        break;
      case 'control':
        if (this.#sessionId !== undefined)
          return refuse(
            'busy',
            'is busy with another coordinator: end that one, or start another worker',
          );
        this.#sessionId = hello.session;
        break;
      default:
        if (!this.#session || hello.session !== this.#sessionId)
          return refuse('session', 'does not take part in that session');
        this.#session.check(hello);
    }
    return welcome;
  }

  #welcome(): Answer {
    const { engine, model, softwareVersion } = this.options;
    return {
      welcome: {
        softwareVersion,
        name: `${os.hostname()}, process ${process.pid}`,
        machineId: this.#machineId,
        engine: engine.name,
        modelFingerprint: model?.fingerprint ?? '',
        freeBytes: engine.device.freeBytes,
        device: engine.device.name,
        threads: engine.threads,
        busy: this.#sessionId !== undefined,
      },
    };
  }

  #accept(connection: Connection, hello: Hello): void {
    if (hello.role === 'control') this.#begin(connection, hello);
    else if (this.#session) this.#session.attach(connection, hello);
    else connection.close('the session is over');
  }

  #begin(connection: Connection, { name, session: id }: Hello): void {
    const { logger, channel } = this.options;
    logger.info(`${name} connected`);
    const session = new Session(connection, id, {
      ...this.options,
      cache: this.#cache,
      pageStore: this.#pageStore,
      channel: { transport: 'auto', ...channel, logger },
    });
    this.#session = session;
    void session.ended.then((reason) => {
      logger.info(`${reason}; ready for the next coordinator`);
      this.#session = undefined;
      this.#sessionId = undefined;
    });
  }

  async #close(): Promise<void> {
    await this.#session?.end('the worker is shutting down');
    await this.#pageStore.written();
    await this.#listener.close();
  }
}

function refuse(code: string, message: string): Answer {
  return { refuse: { code, message } };
}
