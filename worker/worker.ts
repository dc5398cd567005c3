import os from 'node:os';
import type { Logger } from 'pino';
import type { Engine } from '../engine/engine.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Connection } from '../transport/connection.js';
import type { Answer, Hello } from '../transport/handshake.js';
import type { ChannelChoices } from '../transport/open-channel.js';
import type { ClusterSecret } from '../transport/security.js';
import { listen, type Listener } from '../transport/tcp.js';
import { Session } from './session.js';
import { TensorCache } from './tensor-cache.js';

export interface WorkerOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly engine: Engine;
  /** The model, where the worker holds it itself; otherwise the coordinator sends the shard. */
  readonly model?: TensorSource;
  /** Where shards that the coordinator sends are kept. */
  readonly cacheDirectory: string;
  /** Coordinators and stages must know it; without it anyone who reaches the port may use the worker. */
  readonly secret?: ClusterSecret;
  /** How tensors travel; default: as the coordinator wants it. */
  readonly channel?: ChannelChoices;
  readonly softwareVersion: string;
  readonly logger: Logger;
}

/** A process that holds one stage at a time for whichever coordinator came first. */
export class Worker {
  #listener!: Listener;
  #sessionId: string | undefined;
  #session: Session | undefined;

  private constructor(private readonly options: WorkerOptions) {}

  /** Begins to listen. @throws TransportError 'port' */
  static async listen(options: WorkerOptions): Promise<Worker> {
    const worker = new Worker(options);
    worker.#listener = await listen({
      host: options.host,
      port: options.port,
      ...(options.secret ? { secret: options.secret } : {}),
      answer: (hello) => worker.#answer(hello),
      onConnection: (connection, hello) => worker.#accept(connection, hello),
      onRejected: (reason) => options.logger.warn(`turned away: ${reason.message}`),
    });
    return worker;
  }

  get port(): number {
    return this.#listener.port;
  }

  async close(): Promise<void> {
    await this.#session?.end('the worker is shutting down');
    await this.#listener.close();
  }

  #answer(hello: Hello): Answer {
    if (hello.role === 'tensor' && hello.session === this.#sessionId) return this.#welcome();
    if (hello.role === 'tensor') return refuse('session', 'does not take part in that session');
    if (this.#sessionId !== undefined)
      return refuse(
        'busy',
        'is busy with another coordinator: end that one, or start another worker',
      );
    this.#sessionId = hello.session;
    return this.#welcome();
  }

  #welcome(): Answer {
    const { engine, model, softwareVersion } = this.options;
    return {
      welcome: {
        softwareVersion,
        name: `${os.hostname()}, process ${process.pid}`,
        modelFingerprint: model?.fingerprint ?? '',
        freeBytes: engine.device.freeBytes,
        device: engine.device.name,
        threads: engine.threads,
      },
    };
  }

  #accept(connection: Connection, hello: Hello): void {
    if (hello.role === 'tensor') {
      this.#session?.attachPrevious(connection);
      return;
    }
    const { engine, model, logger, cacheDirectory, softwareVersion, secret, channel } =
      this.options;
    logger.info(`${hello.name} connected`);
    const session = new Session(connection, hello.session, {
      engine,
      logger,
      softwareVersion,
      cache: new TensorCache(cacheDirectory),
      channel: { transport: 'auto', ...channel, logger },
      ...(model ? { model } : {}),
      ...(secret ? { secret } : {}),
    });
    this.#session = session;
    void session.ended.then((reason) => {
      logger.info(`${reason}; ready for the next coordinator`);
      this.#session = undefined;
      this.#sessionId = undefined;
    });
  }
}

function refuse(code: string, message: string): Answer {
  return { refuse: { code, message } };
}
