import type { Logger } from 'pino';
import type { Engine, StageSizes } from '../engine/engine.js';
import { checkModel } from '../model/architectures/check-model.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { PageStore } from '../stage/page-files/page-store.js';
import type { StagePageFiles } from '../stage/page-files/stage-page-files.js';
import { StageHost } from '../stage/stage-host.js';
import type { Turns } from '../stage/turns.js';
import type { SegmentId } from '../stage/wanted-segments.js';
import type { Messages, StageReport } from '../transport/messages/messages.js';
import type { ChannelOptions } from '../transport/protocol/open-channel.js';
import { stageReport } from '../transport/protocol/stage-report.js';
import { resultMessage } from '../transport/protocol/steps.js';
import type { TraceEvent } from '../transport/protocol/tracer.js';
import { codecChoiceNamed } from '../transport/wire/codecs/codecs.js';
import type { Connection } from '../transport/wire/connection.js';
import type { ClusterSecret } from '../transport/wire/security.js';
import { Delivery } from './delivery.js';
import { WorkerError } from './errors.js';
import { checkMemory } from './memory.js';
import { ReceivedShard } from './received-shard.js';
import { readLink, readLoadShard, type LoadRequest } from './requests.js';
import type { TensorCache } from './tensor-cache.js';

/** What the stages of a session share. */
export interface ServedStageOptions {
  readonly session: string;
  readonly engine: Engine;
  /** Of the engine's device. */
  readonly turns: Turns;
  /** Taken while a stage is loaded, so that each finds the memory that the one before has left. */
  readonly loads: Turns;
  /** The model, where the worker holds it itself. */
  readonly model?: TensorSource | undefined;
  readonly cache: TensorCache;
  /** Where keys and values of pages are kept. */
  readonly pageStore: PageStore;
  readonly secret?: ClusterSecret | undefined;
  readonly channel: ChannelOptions;
  readonly softwareVersion: string;
  readonly logger: Logger;
}

/** Progress is reported when this much more is loaded. */
const progressBytes = 4 << 20;

/** A stage of a session, as its coordinator sees it: does what it is asked, and says what came of it. */
export class ServedStage {
  readonly #ending = new AbortController();
  readonly #delivery: Delivery;
  #loading: Promise<void> | undefined;
  #host: StageHost | undefined;
  #closed: Promise<void> | undefined;

  constructor(
    /** What the coordinator calls it by. */
    readonly number: number,
    private readonly control: Connection,
    private readonly options: ServedStageOptions,
  ) {
    this.#delivery = new Delivery(options.cache, (names) =>
      control.send('missing', { stage: number, names }),
    );
  }

  /** Whether it can be linked, and take steps. */
  get isReady(): boolean {
    return this.#host?.stage !== undefined;
  }

  /** Its pages, where they can be kept. */
  get pageFiles(): StagePageFiles | undefined {
    return this.#host?.pageFiles;
  }

  /** Whether it waits for tensors. */
  get wantsWeights(): boolean {
    return this.#delivery.isAwaited;
  }

  /** Loads a shard, and says so. @throws WorkerError, ModelError, EngineError, or why it was closed meanwhile */
  async load(body: Messages['loadShard']): Promise<void> {
    this.#loading = this.#load(readLoadShard(body));
    await this.#loading;
  }

  /** Makes the stage a part of a route, and says so. @throws WorkerError, TransportError */
  async link(body: Messages['link']): Promise<void> {
    const { epoch, next } = readLink(body);
    const link = await this.#loaded().link(epoch, next);
    this.control.send('linked', { stage: this.number, epoch, ...(link ? { link } : {}) });
  }

  /** Takes the connection that the previous stage's steps come over. @throws WorkerError, TransportError */
  async attachPrevious(connection: Connection, codec: string): Promise<void> {
    await this.#loaded().attach(connection, codecChoiceNamed(codec));
  }

  /** Takes the connection that tensors come over. */
  attachWeights(connection: Connection): void {
    this.#delivery.attach(connection);
  }

  cancel(segments: readonly SegmentId[]): void {
    this.#host?.cancel(segments);
  }

  get report(): StageReport {
    return this.#host?.report ?? stageReport(undefined, undefined, undefined);
  }

  resetReport(): void {
    this.#host?.resetReport();
  }

  /** What was traced since the last start. @param start whether to trace from now on */
  trace(start: boolean): readonly TraceEvent[] {
    const events = this.#host?.tracer.stop() ?? [];
    if (start) this.#host?.tracer.start();
    return events;
  }

  /** Resolves when all memory is free. Loading is given up. */
  close(reason: string): Promise<void> {
    return (this.#closed ??= this.#close(reason));
  }

  async #load(request: LoadRequest): Promise<void> {
    const { engine, loads, logger } = this.options;
    const { signal } = this.#ending;
    const { shard, cells, conversations, states, kvType, maxStepRows, countsRoutings } = request;
    const source = this.#sourceOf(request);
    const { hiddenSize } = checkModel(source, shard).sizes;
    const memory = { cells, conversations, states, kvType, maxStepRows };
    const sizes = { source, shard, ...memory, countsRoutings };
    checkMemory(engine, sizes);
    if (source instanceof ReceivedShard)
      await this.#delivery.complete([...source.tensors.values()], signal);
    const host = this.#startHost(sizes, hiddenSize);
    const stage = await loads.take(() => {
      signal.throwIfAborted();
      checkMemory(engine, sizes);
      logger.info(`loading ${nameOf(sizes)}`);
      return host.load(engine, { ...sizes, signal, onProgress: this.#progressReporter() });
    });
    const movesPages = stage.pages !== undefined;
    this.control.send('ready', {
      stage: this.number,
      ...stage.memory,
      kvType: stage.kvType,
      movesPages,
    });
    logger.info(`${nameOf(sizes)}: ready`);
  }

  #sourceOf({ modelFingerprint, metadata, tensors }: LoadRequest): TensorSource | ReceivedShard {
    const { model, cache } = this.options;
    if (!model) return new ReceivedShard(cache, metadata, tensors, modelFingerprint);
    if (model.fingerprint === modelFingerprint) return model;
    throw new WorkerError(
      'model',
      'holds another model file than the coordinator: start it with the same file, or without --model to receive its shard',
    );
  }

  #startHost(sizes: StageSizes, hiddenSize: number): StageHost {
    const { control, number: stage } = this;
    const { maxStepRows } = sizes;
    this.#host = new StageHost(
      { ...this.options, name: nameOf(sizes), hiddenSize, maxStepRows },
      {
        onResult: (step, results) => control.send('result', resultMessage(stage, step, results)),
        onStepFailed: ({ id, epoch }, { message }) =>
          control.send('stepFailed', { stage, id, epoch, message }),
        onLinkLost: ({ message }) => control.send('failed', { stage, code: 'lost', message }),
      },
    );
    return this.#host;
  }

  #progressReporter(): (loadedBytes: number, totalBytes: number) => void {
    let reported = 0;
    return (loadedBytes, totalBytes) => {
      if (loadedBytes < totalBytes && loadedBytes - reported < progressBytes) return;
      reported = loadedBytes;
      this.control.send('loadProgress', { stage: this.number, loadedBytes, totalBytes });
    };
  }

  #loaded(): StageHost {
    if (this.#host && this.isReady) return this.#host;
    throw new WorkerError('message', `stage ${this.number} is not loaded`);
  }

  async #close(reason: string): Promise<void> {
    this.#ending.abort(new WorkerError('ended', reason));
    await this.#loading?.catch(() => undefined);
    await this.#host?.close(reason);
  }
}

function nameOf({ shard: { firstLayer, endLayer } }: StageSizes): string {
  return `the stage of layers ${firstLayer} to ${endLayer - 1}`;
}
