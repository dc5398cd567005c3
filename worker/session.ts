import type { Logger } from 'pino';
import { kvTypes, type Engine, type Stage } from '../engine/engine.js';
import { StageRunner } from '../engine/stage-runner.js';
import { tensorTypes } from '../model/gguf/tensor-types.js';
import type { MetadataValue, TensorSource } from '../model/tensor-source.js';
import { codecNamed } from '../transport/codecs/codecs.js';
import type { Connection } from '../transport/connection.js';
import type { Message, Messages } from '../transport/messages.js';
import type { ClusterSecret } from '../transport/security.js';
import { toBytes } from '../transport/steps.js';
import { stageReport } from '../transport/stage-report.js';
import {
  acceptChannel,
  offerChannel,
  transportChoices,
  type ChannelOptions,
} from '../transport/open-channel.js';
import { queueKinds } from '../transport/rdma/queue-pair.js';
import { dial } from '../transport/tcp.js';
import type { TensorChannel } from '../transport/tensor-channel.js';
import { TensorReceiver, TensorSender } from '../transport/tensor-link.js';
import { Tracer } from '../transport/tracer.js';
import { WorkerError } from './errors.js';
import { ShardReceiver } from './receive-shard.js';
import type { ReceivedTensor } from './received-shard.js';
import type { TensorCache } from './tensor-cache.js';

export interface SessionOptions {
  readonly engine: Engine;
  readonly model?: TensorSource;
  readonly cache: TensorCache;
  readonly secret?: ClusterSecret;
  readonly channel: ChannelOptions;
  readonly softwareVersion: string;
  readonly logger: Logger;
}

/** Progress is reported when this much more is loaded. */
const progressBytes = 4 << 20;

/** One coordinator's use of a worker: loads a stage, runs it, and frees everything when the coordinator is gone. */
export class Session {
  /** Resolves with the reason when the session is over and its memory is free. */
  readonly ended: Promise<string>;
  #receivingShard: ShardReceiver | undefined;
  #loading: Promise<void> = Promise.resolve();
  #load: Messages['load'] | undefined;
  #stage: Stage | undefined;
  readonly #tracer = new Tracer();
  #runner: StageRunner | undefined;
  #previous: Connection | undefined;
  #incoming: TensorChannel | undefined;
  #receiver: TensorReceiver | undefined;
  #next: Connection | undefined;
  #sender: TensorSender | undefined;

  constructor(
    private readonly control: Connection,
    private readonly id: string,
    private readonly options: SessionOptions,
  ) {
    control.onMessage = (message, payload) => this.#handle(message, payload);
    this.ended = control.closed.then(async (reason) => {
      await this.#dispose(reason.message);
      return reason.message;
    });
  }

  /** Takes the connection that the previous stage's steps come over. */
  attachPrevious(connection: Connection): void {
    this.#previous?.close('replaced by another connection');
    this.#previous = connection;
    void connection.closed.then((reason) => this.options.logger.debug(reason.message));
    acceptChannel(connection, this.options.channel).then(
      (channel) => {
        if (this.#previous !== connection) return;
        this.#incoming = channel;
        this.#startReceiving();
      },
      (error: Error) => connection.close(error.message),
    );
  }

  /** Ends the session from this side. */
  async end(reason: string): Promise<void> {
    this.control.close(reason);
    await this.ended;
  }

  #handle(message: Message, payload: Uint8Array): void {
    switch (message.kind) {
      case 'load':
        this.#loading = this.#loadStage(message.body);
        return;
      case 'tensorData':
        void this.#receivingShard?.receive(message.body.name, message.body.offset, payload);
        return;
      case 'cancel':
        this.#runner?.cancel(message.body.ids);
        return;
      case 'traceRequest':
        this.#trace(message.body.start);
        return;
      case 'statsRequest':
        this.control.send('stats', this.#stats());
        if (message.body.reset) this.#resetStats();
        return;
      default:
        throw new WorkerError(`a ${message.kind} message here`);
    }
  }

  async #loadStage(load: Messages['load']): Promise<void> {
    try {
      if (this.#load) throw new WorkerError('a stage is loaded already');
      this.#load = load;
      const { engine, logger } = this.options;
      const source = this.options.model ?? (await this.#receiveShard(load));
      if (source.fingerprint !== load.modelFingerprint)
        throw new WorkerError(
          'holds another model file than the coordinator: start it with the same file, or without --model to receive its shard',
        );
      if (load.conversations < 1 || load.cells % load.conversations !== 0)
        throw new WorkerError(
          `${load.cells} cells cannot be shared by ${load.conversations} conversations`,
        );
      logger.info(`loading layers ${load.shard.firstLayer} to ${load.shard.endLayer - 1}`);
      const stage = await engine.load({
        source,
        shard: load.shard,
        cells: load.cells,
        conversations: load.conversations,
        kvType: kvTypes.find((type) => type === load.kvType) ?? 'f16',
        maxBatchTokens: load.maxBatchTokens,
        onProgress: this.#progressReporter(),
      });
      await this.#start(stage, load);
      this.control.send('ready', { ...stage.memory, kvType: stage.kvType });
      logger.info('ready');
    } catch (error) {
      const { message } = error as Error;
      this.options.logger.error(message);
      this.control.send('failed', { code: 'load', message });
    }
  }

  async #receiveShard(load: Messages['load']): Promise<TensorSource> {
    const tensors: ReceivedTensor[] = load.tensors.map(({ name, type, shape, bytes, sha256 }) => {
      const known = tensorTypes.get(type);
      if (!known) throw new WorkerError(`tensor ${name} is of unknown type ${type}`);
      return { name, type: known, shape, bytes, sha256 };
    });
    const metadata = new Map(JSON.parse(load.metadata) as [string, MetadataValue][]);
    const receiver = new ShardReceiver(
      this.options.cache,
      metadata,
      tensors,
      load.modelFingerprint,
      (bytes) => this.control.send('stored', { bytes }),
    );
    this.#receivingShard = receiver;
    this.control.send('missing', { names: await receiver.missing() });
    await receiver.complete;
    return receiver.source();
  }

  async #start(stage: Stage, load: Messages['load']): Promise<void> {
    this.#stage = stage;
    if (load.nextPort > 0) {
      const { connection } = await dial({
        host: load.nextHost,
        port: load.nextPort,
        ...(this.options.secret ? { secret: this.options.secret } : {}),
        hello: {
          role: 'tensor',
          session: this.id,
          softwareVersion: this.options.softwareVersion,
          name: `the stage of layers ${load.shard.firstLayer} to ${load.shard.endLayer - 1}`,
        },
      });
      this.#next = connection;
      void connection.closed.then(({ message }) =>
        this.control.send('failed', { code: 'link', message }),
      );
      const codec = codecNamed(load.codecOut);
      const rowBytes = codec.encodedBytes(1, stage.hiddenSize);
      const channel = await offerChannel(connection, rowBytes, this.#outgoing(load));
      this.#sender = new TensorSender(channel, codec, stage.hiddenSize, this.#tracer);
    }
    const { control } = this;
    this.#runner = new StageRunner(
      stage,
      {
        forward: (step, hidden) => this.#sender?.send(step, hidden),
        finish: ({ id }, tokens) => control.send('result', { id, tokens: toBytes(tokens) }),
        fail: ({ id }, { message }) => control.send('stepFailed', { id, message }),
        onComputed: ({ id }, ms) => this.#tracer.record('compute', id, performance.now() - ms),
      },
      load.maxBatchTokens,
    );
    this.#startReceiving();
  }

  /** What this worker was started with, else what the coordinator wants. */
  #outgoing(load: Messages['load']): ChannelOptions {
    const { channel } = this.options;
    const transport = transportChoices.find((choice) => choice === load.transport) ?? 'auto';
    const rdmaQueue = channel.rdmaQueue ?? queueKinds.find((kind) => kind === load.rdmaQueue);
    return {
      ...channel,
      transport: channel.transport === 'auto' ? transport : channel.transport,
      ...(rdmaQueue ? { rdmaQueue } : {}),
    };
  }

  /** The previous stage may connect before or after this one is loaded. */
  #startReceiving(): void {
    const { hiddenSize } = this.#stage ?? {};
    const runner = this.#runner;
    if (!this.#incoming || !this.#load || !runner || hiddenSize === undefined) return;
    this.#receiver = new TensorReceiver(
      this.#incoming,
      codecNamed(this.#load.codecIn),
      hiddenSize,
      (step, hidden, release) => runner.enqueue(step, hidden, release),
      this.#tracer,
    );
  }

  #progressReporter(): (loadedBytes: number, totalBytes: number) => void {
    let reported = 0;
    return (loadedBytes, totalBytes) => {
      if (loadedBytes < totalBytes && loadedBytes - reported < progressBytes) return;
      reported = loadedBytes;
      this.control.send('loadProgress', { loadedBytes, totalBytes });
    };
  }

  #trace(start: boolean): void {
    const events = this.#tracer.stop();
    if (start) this.#tracer.start();
    else
      this.control.send('trace', {
        events: JSON.stringify(events),
        nowMs: performance.timeOrigin + performance.now(),
      });
  }

  #stats(): Messages['stats'] {
    return stageReport(this.#runner?.stats, this.#sender, this.#receiver);
  }

  #resetStats(): void {
    this.#runner?.resetStats();
    this.#sender?.resetStats();
    this.#receiver?.resetStats();
  }

  async #dispose(reason: string): Promise<void> {
    this.#previous?.close(reason);
    this.#next?.close(reason);
    await this.#receivingShard?.abort(reason);
    await this.#loading;
    await this.#runner?.stop();
    this.#stage?.dispose();
  }
}
