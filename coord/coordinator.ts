import { randomUUID } from 'node:crypto';
import type { Batch } from '../engine/engine.js';
import { architectureOf } from '../model/architectures/registry.js';
import { isEmpty, type Shard } from '../model/shard.js';
import type { Messages } from '../transport/messages.js';
import type { TraceEvent } from '../transport/tracer.js';
import { CellMap } from './cells.js';
import { StepCostEstimate } from './chunk-size.js';
import { Conversation } from './conversation.js';
import { checkCodecs, type CoordinatorOptions } from './coordinator-options.js';
import { CoordinatorError } from './errors.js';
import { calibrationSteps } from './kv-calibration.js';
import { LoadMessages } from './load-messages.js';
import { OwnStage } from './own-stage.js';
import { Pipeline } from './pipeline.js';
import { checkMemory, splitLayers, type Plan } from './plan.js';
import type { RemoteWorker } from './remote-worker.js';
import { Speculator } from './speculator.js';
import { stageStats, type StageStats } from './stage-stats.js';
import { checkModel, connectWorkers, machineOf, ownMachine } from './workers.js';

/** Owns requests: plans, has the stages loaded, and sends steps through them. */
export class Coordinator implements AsyncDisposable {
  /** Resolves with a one-line reason when a worker is lost; never rejects. */
  readonly failure: Promise<CoordinatorError>;
  readonly plan: Plan;
  readonly #pipeline: Pipeline;
  readonly #cellMap: CellMap;
  #fail!: (error: CoordinatorError) => void;
  readonly #ownStage: OwnStage;
  #statsSince = performance.now();
  readonly #stepCost = new StepCostEstimate();
  #speculator: Speculator | undefined;
  readonly #kvTypes = new Set<string>();

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
      submit: (step) => this.#ownStage.submit(step),
      cancel: (ids) => {
        this.#ownStage.cancel(ids);
        for (const worker of this.workers) worker.cancel(ids);
      },
    });
    const onResult = (id: number, tokens: Int32Array) => this.#pipeline.finished(id, tokens);
    this.#ownStage = new OwnStage(options, {
      onResult,
      onStepFailed: (id, error) => this.#pipeline.failed(id, error),
      onComputed: (tokens, ms) => this.#stepCost.add(tokens, ms),
      onLost: (error) => this.#lose(error),
    });
    for (const worker of workers)
      worker.events = {
        onResult,
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
        await coordinator.#calibrateKv();
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

  /** What stages keep keys and values in. */
  get kvTypes(): ReadonlySet<string> {
    return this.#kvTypes;
  }

  /** What became of drafts; undefined without speculation. */
  get speculation(): Speculator | undefined {
    return this.#speculator;
  }

  /** Begins to keep what every stage does with every step. */
  startTrace(): void {
    this.#ownStage.tracer.start();
    for (const worker of this.workers) worker.startTrace();
  }

  /** What every stage did since `startTrace`, in plan order. @throws CoordinatorError 'worker-lost' */
  async stopTrace(): Promise<TraceEvent[][]> {
    const remote = await Promise.all(this.workers.map((worker) => worker.stopTrace()));
    return [this.#ownStage.tracer.stop(), ...remote];
  }

  /** Where the time of every stage went since the last reset. @throws CoordinatorError 'worker-lost' */
  async stats({ reset = false } = {}): Promise<StageStats[]> {
    const elapsedMs = performance.now() - this.#statsSince;
    const remote = await Promise.all(this.workers.map((worker) => worker.stats(reset)));
    const all = [this.#ownStage.stats, ...remote];
    if (reset) {
      this.#statsSince = performance.now();
      this.#ownStage.resetStats();
      this.#speculator?.resetStats();
    }
    return this.plan.stages.map((stage, i) =>
      stageStats(stage, all[i] as Messages['stats'], elapsedMs),
    );
  }

  async close(): Promise<void> {
    this.#pipeline.break(new CoordinatorError('cancelled', 'the coordinator was closed'));
    for (const worker of this.workers) worker.close('the coordinator is done');
    await this.#ownStage.close();
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
      conversations: this.#cellMap.conversations,
      kvType: this.options.kvType,
      maxBatchTokens: this.options.chunkTokens,
    };
  }

  async #load(): Promise<void> {
    const { source, onProgress } = this.options;
    const messages = new LoadMessages(this.options, this.workers, this.shards, this.#cellMap);
    const loads = this.workers.map(async (worker, i) => {
      const progress = (loadedBytes: number, totalBytes: number) =>
        onProgress?.({ stage: worker.name, loadedBytes, totalBytes });
      const { kvType } = await worker.load(await messages.of(i), source, progress);
      this.#kvTypes.add(kvType);
    });
    const own = this.#ownStage.load(this.#stageOptions(this.shards[0] as Shard));
    // All must have settled before anything is given up, so that no load goes on behind our back.
    const results = await Promise.allSettled([own, ...loads]);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    if (this.#ownStage.kvType) this.#kvTypes.add(this.#ownStage.kvType);
    const [first] = this.workers;
    if (first) await this.#ownStage.connect(first.address, this.session);
  }

  async #calibrateKv(): Promise<void> {
    if (!this.#kvTypes.has('int8')) return;
    const { calibrationText, chunkTokens, onCalibration } = this.options;
    const text = calibrationText();
    const steps = calibrationSteps(text, this.#cellMap.firstRange, chunkTokens);
    let done = 0;
    onCalibration?.(done, text.length);
    await Promise.all(
      steps.map(async (step) => {
        await this.#pipeline.submit(step).tokens;
        onCalibration?.((done += step.tokens.length), text.length);
      }),
    );
  }

  async #prepareSpeculation(): Promise<void> {
    const { speculation, chunkTokens, logger } = this.options;
    if (!speculation) return;
    const measured = { pipeline: this.#pipeline, stats: () => this.stats({ reset: true }) };
    const cells = this.#cellMap.firstRange;
    this.#speculator = await Speculator.open(speculation, measured, cells, chunkTokens, logger);
  }

  #lose(error: CoordinatorError): void {
    this.options.logger.debug(error.message);
    this.#pipeline.break(error);
    this.#fail(error);
  }
}
