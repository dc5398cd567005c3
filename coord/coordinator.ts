import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Batch, Engine, KvType, Stage } from '../engine/engine.js';
import { StageRunner } from '../engine/stage-runner.js';
import { architectureOf } from '../model/architectures/registry.js';
import { tensorsOfShard, type Shard } from '../model/shard.js';
import type { TensorSource } from '../model/tensor-source.js';
import { codecNamed } from '../transport/codecs/codecs.js';
import type { CodecName } from '../transport/codecs/codec.js';
import type { Connection } from '../transport/connection.js';
import type { Messages } from '../transport/messages.js';
import { stageReport } from '../transport/stage-report.js';
import {
  offerChannel,
  type ChannelChoices,
  type ChannelOptions,
} from '../transport/open-channel.js';
import { dial } from '../transport/tcp.js';
import { TensorSender } from '../transport/tensor-link.js';
import { Tracer, type TraceEvent } from '../transport/tracer.js';
import { CellMap } from './cells.js';
import { StepCostEstimate } from './chunk-size.js';
import { Conversation } from './conversation.js';
import { CoordinatorError } from './errors.js';
import { Pipeline } from './pipeline.js';
import { checkMemory, splitLayers, type Plan } from './plan.js';
import type { RemoteWorker } from './remote-worker.js';
import { Speculator, type SpeculationOptions } from './speculator.js';
import { stageStats, type StageStats } from './stage-stats.js';
import { TensorHashes } from './tensor-hashes.js';
import {
  checkModel,
  connectWorkers,
  machineOf,
  ownMachine,
  type ConnectOptions,
} from './workers.js';

export interface CoordinatorOptions extends ConnectOptions {
  readonly source: TensorSource;
  readonly engine: Engine;
  /** Layers per stage, the coordinator's first; without it, in proportion to free memory. */
  readonly layers?: readonly number[];
  /** KV cells of one conversation. */
  readonly context: number;
  /** Conversations that may be held at once; default 1. */
  readonly conversations?: number;
  readonly kvType: KvType;
  /** How hidden states travel: one for all links, or one per link in pipeline order. */
  readonly codec: CodecName | readonly CodecName[];
  /** What tensors travel by; default: RDMA where both ends have it. */
  readonly channel?: ChannelChoices;
  /** Most tokens in one step of a prompt; longer prompts are cut smaller where that is faster. */
  readonly chunkTokens: number;
  /** Drafts tokens, so that several can be in the pipeline at once. */
  readonly speculation?: SpeculationOptions;
  /** Where hashes of tensors are kept. */
  readonly cacheDirectory: string;
  readonly logger: Logger;
  /** `stage` is `coordinator` or a worker's address. */
  readonly onProgress?: (event: { stage: string; loadedBytes: number; totalBytes: number }) => void;
}

/** Owns requests: plans, has the stages loaded, and sends steps through them. */
export class Coordinator implements AsyncDisposable {
  /** Resolves with a one-line reason when a worker is lost; never rejects. */
  readonly failure: Promise<CoordinatorError>;
  readonly plan: Plan;
  readonly #pipeline: Pipeline;
  readonly #cellMap: CellMap;
  #fail!: (error: CoordinatorError) => void;
  #stage: Stage | undefined;
  #runner: StageRunner | undefined;
  #next: Connection | undefined;
  #sender: TensorSender | undefined;
  #statsSince = performance.now();
  readonly #stepCost = new StepCostEstimate();
  readonly #tracer = new Tracer();
  #speculator: Speculator | undefined;

  private constructor(
    private readonly options: CoordinatorOptions,
    private readonly session: string,
    private readonly workers: readonly RemoteWorker[],
    private readonly shards: readonly Shard[],
  ) {
    this.failure = new Promise((resolve) => (this.#fail = resolve));
    this.#cellMap = new CellMap(options.context, options.conversations ?? 1);
    this.plan = this.#plan();
    this.#pipeline = new Pipeline({
      submit: (step) =>
        this.#runner
          ? this.#runner.enqueue(step, new Float32Array(0))
          : this.#sender?.send(step, new Float32Array(0)),
      cancel: (ids) => {
        this.#runner?.cancel(ids);
        for (const worker of this.workers) worker.cancel(ids);
      },
    });
    for (const worker of workers)
      worker.events = {
        onResult: (id, tokens) => this.#pipeline.finished(id, tokens),
        onStepFailed: (id, error) => this.#pipeline.failed(id, error),
        onLost: (error) => this.#lose(error as CoordinatorError),
      };
  }

  /**
   * Connects to the workers, splits the model and has every stage loaded.
   * @throws ModelError, EngineError, TransportError, and CoordinatorError 'plan', 'memory', 'context',
   * 'worker-refused' or 'worker-lost'
   */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const { layers } = architectureOf(options.source).hyperparameters(options.source);
    const session = randomUUID();
    const workers = await connectWorkers(options, session);
    try {
      const candidates = [ownMachine(options.engine), ...workers.map(machineOf)];
      const shards = splitLayers(layers, candidates, options.layers);
      for (const worker of workers) checkModel(worker, options.source);
      checkCodecs(options);
      const coordinator = new Coordinator(options, session, workers, shards);
      checkMemory(coordinator.plan, candidates);
      try {
        await coordinator.#load();
        await coordinator.#prepareSpeculation();
      } catch (error) {
        await coordinator.close();
        throw error;
      }
      return coordinator;
    } catch (error) {
      for (const worker of workers) worker.close('the coordinator gave up');
      throw error;
    }
  }

  /** Begins a conversation. @throws CoordinatorError 'context' when all are taken */
  conversation(): Conversation {
    const speculator = this.#speculator;
    return new Conversation({
      pipeline: this.#pipeline,
      cellMap: this.#cellMap,
      chunkTokens: this.options.chunkTokens,
      stages: this.shards.filter((shard) => !isEmpty(shard)).length,
      stepCost: this.#stepCost,
      ...(speculator ? { speculation: (range) => speculator.for(range) } : {}),
    });
  }

  /**
   * Sends one step of the caller's making through all stages; for tests and measurements beside conversations.
   * @returns the chosen token for every output row
   * @throws CoordinatorError 'step' or 'worker-lost'
   */
  step(batch: Batch): Promise<Int32Array> {
    return this.#pipeline.submit(batch).tokens;
  }

  /** What became of drafts; undefined without speculation. */
  get speculation(): Speculator | undefined {
    return this.#speculator;
  }

  /** Begins to keep what every stage does with every step. */
  startTrace(): void {
    this.#tracer.start();
    for (const worker of this.workers) worker.startTrace();
  }

  /** What every stage did since `startTrace`, in plan order. @throws CoordinatorError 'worker-lost' */
  async stopTrace(): Promise<TraceEvent[][]> {
    const remote = await Promise.all(this.workers.map((worker) => worker.stopTrace()));
    return [this.#tracer.stop(), ...remote];
  }

  /** Where the time of every stage went since the last reset. @throws CoordinatorError 'worker-lost' */
  async stats({ reset = false } = {}): Promise<StageStats[]> {
    const elapsedMs = performance.now() - this.#statsSince;
    const remote = await Promise.all(this.workers.map((worker) => worker.stats(reset)));
    const all = [this.#ownStats(), ...remote];
    if (reset) {
      this.#statsSince = performance.now();
      this.#runner?.resetStats();
      this.#sender?.resetStats();
      this.#speculator?.resetStats();
    }
    return this.plan.stages.map((stage, i) =>
      stageStats(stage, all[i] as Messages['stats'], elapsedMs),
    );
  }

  async close(): Promise<void> {
    this.#pipeline.break(new CoordinatorError('cancelled', 'the coordinator was closed'));
    for (const worker of this.workers) worker.close('the coordinator is done');
    this.#next?.close('the coordinator is done');
    await this.#runner?.stop();
    this.#stage?.dispose();
    this.#stage = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #plan(): Plan {
    const names = ['coordinator', ...this.workers.map(({ name }) => name)];
    const devices = [
      this.options.engine.device.name,
      ...this.workers.map(({ welcome }) => welcome.device),
    ];
    return {
      stages: this.shards.map((shard, i) => ({
        name: names[i] ?? '',
        layers: shard.endLayer - shard.firstLayer,
        firstLayer: shard.firstLayer,
        endLayer: shard.endLayer,
        device: devices[i] ?? '',
        memory: isEmpty(shard)
          ? { weights: 0, kv: 0, compute: 0 }
          : this.options.engine.estimate(this.#stageOptions(shard)),
      })),
    };
  }

  #stageOptions(shard: Shard) {
    return {
      source: this.options.source,
      shard,
      cells: this.#cellMap.cells,
      kvType: this.options.kvType,
      maxBatchTokens: this.options.chunkTokens,
    };
  }

  async #load(): Promise<void> {
    const { source, cacheDirectory } = this.options;
    const hashes = new TensorHashes(source, cacheDirectory);
    const loads = this.workers.map(async (worker, i) =>
      worker.load(await this.#loadMessage(i, hashes), source, (loadedBytes, totalBytes) =>
        this.options.onProgress?.({ stage: worker.name, loadedBytes, totalBytes }),
      ),
    );
    // All must have settled before anything is given up, so that no load goes on behind our back.
    const results = await Promise.allSettled([this.#loadOwnStage(), ...loads]);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    await this.#connectNext();
  }

  async #prepareSpeculation(): Promise<void> {
    const { speculation, chunkTokens, logger } = this.options;
    if (!speculation) return;
    const measured = { pipeline: this.#pipeline, stats: () => this.stats({ reset: true }) };
    const cells = this.#cellMap.firstRange;
    this.#speculator = await Speculator.open(speculation, measured, cells, chunkTokens, logger);
  }

  async #loadOwnStage(): Promise<void> {
    const shard = this.shards[0] as Shard;
    if (isEmpty(shard)) return;
    const { engine, chunkTokens, onProgress } = this.options;
    const stage = await engine.load({
      ...this.#stageOptions(shard),
      onProgress: (loadedBytes, totalBytes) =>
        onProgress?.({ stage: 'coordinator', loadedBytes, totalBytes }),
    });
    this.#stage = stage;
    this.#runner = new StageRunner(
      stage,
      {
        forward: (step, hidden) => this.#sender?.send(step, hidden),
        finish: ({ id }, tokens) => this.#pipeline.finished(id, tokens),
        onComputed: ({ id, tokens }, ms) => {
          this.#stepCost.add(tokens.length, ms);
          this.#tracer.record('compute', id, performance.now() - ms);
        },
        fail: ({ id }, { message }) =>
          this.#pipeline.failed(id, new CoordinatorError('step', message)),
      },
      chunkTokens,
    );
  }

  async #connectNext(): Promise<void> {
    const first = this.workers[0];
    if (!first) return;
    const { softwareVersion, source, secret } = this.options;
    const { connection } = await dial({
      ...first.address,
      hello: { role: 'tensor', session: this.session, softwareVersion, name: 'coordinator' },
      ...(secret ? { secret } : {}),
    });
    this.#next = connection;
    void connection.closed.then(({ message }) =>
      this.#lose(new CoordinatorError('worker-lost', `lost ${message}`)),
    );
    const { hiddenSize } = architectureOf(source).hyperparameters(source);
    const codec = codecNamed(this.#codecOf(0));
    const channel = await offerChannel(
      connection,
      codec.encodedBytes(1, hiddenSize),
      this.#channel,
    );
    this.#sender = new TensorSender(channel, codec, hiddenSize, this.#tracer);
  }

  async #loadMessage(index: number, hashes: TensorHashes): Promise<Messages['load']> {
    const { source, kvType, chunkTokens } = this.options;
    const shard = this.shards[index + 1] as Shard;
    const worker = this.workers[index] as RemoteWorker;
    const next = this.workers[index + 1]?.address;
    const holdsModel = worker.welcome.modelFingerprint !== '';
    const tensors = holdsModel ? [] : tensorsOfShard(source.tensors, shard);
    const sha256 = await hashes.of(tensors);
    return {
      shard,
      modelFingerprint: source.fingerprint,
      metadata: holdsModel ? '' : engineMetadata(source),
      tensors: tensors.map(({ name, type, shape, bytes }, i) => ({
        name,
        type: type.id,
        shape: [...shape],
        bytes,
        sha256: sha256[i] ?? '',
      })),
      cells: this.#cellMap.cells,
      kvType,
      maxBatchTokens: chunkTokens,
      codecIn: this.#codecOf(index),
      codecOut: next ? this.#codecOf(index + 1) : '',
      nextHost: next?.host ?? '',
      nextPort: next?.port ?? 0,
      transport: this.#channel.transport,
      rdmaQueue: this.#channel.rdmaQueue ?? '',
    };
  }

  /** @param link counted from the coordinator's own */
  #codecOf(link: number): CodecName {
    const { codec } = this.options;
    return typeof codec === 'string' ? codec : (codec[link] ?? 'f32');
  }

  get #channel(): ChannelOptions {
    const { channel, logger } = this.options;
    return { transport: 'auto', ...channel, logger };
  }

  #ownStats(): Messages['stats'] {
    return stageReport(this.#runner?.stats, this.#sender, undefined);
  }

  #lose(error: CoordinatorError): void {
    this.options.logger.debug(error.message);
    this.#pipeline.break(error);
    this.#fail(error);
  }
}

/** @throws CoordinatorError 'plan' when there is not one codec for every link */
function checkCodecs({ codec, workers }: CoordinatorOptions): void {
  if (typeof codec === 'string' || codec.length === workers.length) return;
  throw new CoordinatorError(
    'plan',
    `--codec ${codec.join(',')} is for ${codec.length} links, but there are ${workers.length}: give one for all, or one for each`,
  );
}

/** Vocabularies are large, and of no use to an engine. */
function engineMetadata({ metadata }: TensorSource): string {
  return JSON.stringify(
    [...metadata].filter(
      ([key, value]) => !key.startsWith('tokenizer.') && typeof value !== 'bigint',
    ),
  );
}

function isEmpty({ firstLayer, endLayer }: Shard): boolean {
  return firstLayer === endLayer;
}
