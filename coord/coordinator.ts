import { pageCells, type PageCopy } from '../step/pages.js';
import type { Segment, SegmentResult } from '../step/step.js';
import type { StageReport } from '../transport/messages/messages.js';
import type { TraceEvent } from '../transport/protocol/tracer.js';
import { rewindOf } from '../model/architectures/layer.js';
import { readModel } from '../model/architectures/model.js';
import { Batcher } from './batcher.js';
import type { BatchStats } from './batch-stats.js';
import { sharesCells } from './cell-budget.js';
import type { CellRange } from './cells.js';
import { Conversation } from './conversation.js';
import { slotsEach, type CoordinatorOptions } from './coordinator-options.js';
import { CostCache } from './cost-cache.js';
import { Deployment } from './deployment.js';
import { CoordinatorError } from './errors.js';
import { calibrationSegments } from './kv-calibration.js';
import type { NamedLink } from './links.js';
import { CellPool } from './pages/cell-pool.js';
import { FixedPlaces } from './pages/fixed-places.js';
import { KeptPages } from './pages/kept-pages.js';
import type { CellStats, TextCells } from './pages/text-cells.js';
import { Pipeline } from './pipeline.js';
import type { Plan } from './plan.js';
import type { WorkerAddress } from './remote-worker.js';
import type { Route } from './route.js';
import { RouteCosts } from './route-costs.js';
import { Speculator } from './speculator.js';
import { stageStats, type StageStats } from './stage-stats.js';

/** Owns requests: has the stages loaded, and sends steps through them. */
export class Coordinator implements AsyncDisposable {
  /** Resolves with a one-line reason when a worker is lost; never rejects. */
  readonly failure: Promise<CoordinatorError>;
  #fail!: (error: CoordinatorError) => void;
  readonly #pipeline = new Pipeline();
  readonly #batcher: Batcher;
  #deployment!: Deployment;
  #cells!: TextCells;
  #keptPages: KeptPages | undefined;
  #route!: Route;
  #speculator: Speculator | undefined;
  #costs!: RouteCosts;
  #isLearningCosts = false;
  #statsSince = performance.now();
  #closing: Promise<void> | undefined;

  private constructor(private readonly options: CoordinatorOptions) {
    this.failure = new Promise((resolve) => (this.#fail = resolve));
    this.#batcher = new Batcher({
      pipeline: this.#pipeline,
      chunkTokens: options.chunkTokens,
      costs: () => this.#costs,
    });
  }

  /**
   * Connects to the workers, splits the model and has every stage loaded and linked.
   * @throws ModelError, EngineError, TransportError, and CoordinatorError 'plan', 'memory', 'context',
   * 'worker-refused' or 'worker-lost'
   */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const coordinator = new Coordinator(options);
    coordinator.#deployment = await Deployment.open(options, {
      onResult: (step, results) => coordinator.#pipeline.finished(step, results),
      onStepFailed: (step, error) => coordinator.#pipeline.failed(step, error),
      onLost: (error) => coordinator.#lose(error),
    });
    try {
      options.onPlan?.(coordinator.plan);
      await coordinator.#deployment.load();
      coordinator.#cells = coordinator.#textCells();
      await coordinator.#prepareSpeculation();
      await coordinator.#useNewRoute();
      return coordinator;
    } catch (error) {
      await coordinator.close();
      throw error;
    }
  }

  get plan(): Plan {
    return this.#deployment.plan;
  }

  /** How hidden states travel, in pipeline order: from each stage but the last to the next. */
  get links(): readonly NamedLink[] {
    return this.#deployment.links;
  }

  /** What stages keep keys and values in. */
  get kvTypes(): ReadonlySet<string> {
    return this.#deployment.kvTypes;
  }

  /** What became of drafts; undefined without speculation. */
  get speculation(): Speculator | undefined {
    return this.#speculator;
  }

  /** Tokens that a text may have. */
  get context(): number {
    return this.#cells.mostTokens;
  }

  /** What cells are used for, since `stats` were reset where these are counts. */
  get cells(): CellStats {
    return this.#cells.stats;
  }

  /** How conversations share steps, since `stats` were reset. */
  get batching(): BatchStats {
    return this.#batcher.stats;
  }

  /** Begins a conversation. @throws CoordinatorError 'context' when there can be no more, in models that keep more than cells */
  conversation(): Conversation {
    this.#checkOpen();
    const speculator = this.#speculator;
    return new Conversation({
      pipeline: this.#pipeline,
      batcher: this.#batcher,
      cells: this.#cells,
      keptPages: this.#keptPages,
      chunkTokens: this.options.chunkTokens,
      onPromptRead: () => void this.#learnCosts(),
      ...(speculator ? { drafts: (sequence) => speculator.for(sequence) } : {}),
    });
  }

  /**
   * Sends one step of the caller's making through all stages; for tests and measurements beside conversations.
   * @throws CoordinatorError 'step', 'route' or 'worker-lost'
   */
  step(segments: readonly Segment[]): Promise<SegmentResult[]> {
    return Promise.all(this.#pipeline.submit(segments).results);
  }

  /**
   * Moves a stage to another worker. Answers that are under way wait meanwhile, and go on with the same text.
   * @param index of the stage in the plan, 1 or more
   * @throws TransportError, CoordinatorError 'plan', 'worker-refused', 'worker-lost'; then all is as it was before, unless
   * linking failed: then answers wait for another move
   */
  async moveStage(index: number, address: WorkerAddress): Promise<void> {
    this.#checkOpen();
    const old = await this.#deployment.move(index, address);
    this.#pipeline.suspend();
    await this.#useNewRoute();
    await this.#deployment.free(old);
  }

  /** Begins to keep what every stage does with every step. */
  startTrace(): void {
    for (const stage of this.#deployment.stages) stage.startTrace();
  }

  /** What every stage did since `startTrace`, in plan order. @throws CoordinatorError 'worker-lost' */
  stopTrace(): Promise<TraceEvent[][]> {
    return Promise.all(this.#deployment.stages.map((stage) => stage.stopTrace()));
  }

  /** Where the time of every stage went since the last reset. @throws CoordinatorError 'worker-lost' */
  async stats({ reset = false } = {}): Promise<StageStats[]> {
    const elapsedMs = performance.now() - this.#statsSince;
    const reports = await this.#reports(reset);
    if (reset) {
      this.#statsSince = performance.now();
      this.#speculator?.resetStats();
      this.#batcher.resetStats();
      this.#cells.resetStats();
    }
    return this.plan.stages.map((stage, i) =>
      stageStats(stage, reports[i] as StageReport, elapsedMs),
    );
  }

  /** What every stage's threads read from memory, in bytes per second; see `StagePort`. @throws CoordinatorError 'worker-lost' */
  async bandwidths(): Promise<number[]> {
    const measured: number[] = [];
    // One after the other: they may share a machine.
    for (const stage of this.#deployment.stages) measured.push(await stage.bandwidth());
    return measured;
  }

  /** Ends all answers and frees all stages. Idempotent. */
  close(): Promise<void> {
    this.#pipeline.break(new CoordinatorError('cancelled', 'the coordinator was closed'));
    return (this.#closing ??= this.#deployment.close('the coordinator is done'));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #checkOpen(): void {
    if (this.#closing) throw new CoordinatorError('cancelled', 'the coordinator was closed');
  }

  /**
   * Links the stages anew, has those calibrated that need it, as a new one knows no scales, and measures what they cost.
   * Nobody's keys and values are in their cells now.
   */
  async #useNewRoute(): Promise<void> {
    this.#route = await this.#deployment.link();
    this.#pipeline.use(this.#route);
    this.#cells.forget();
    if (this.kvTypes.has('int8')) await this.#calibrateKv();
    this.#costs = await this.#knowCosts();
    this.#speculator?.use(this.#costs.pipeline);
    this.#pipeline.resume();
  }

  #textCells(): TextCells {
    const { source, conversations = 1, chunkTokens } = this.options;
    const { context, cells } = this.#deployment.cellBudget;
    const { layers } = readModel(source);
    if (sharesCells(layers) && this.#deployment.movesPages) {
      const pool = new CellPool({
        pages: cells / pageCells,
        context,
        copy: (copies) => void this.#copy(copies),
      });
      if (this.options.kvDisk !== 0) this.#keptPages = this.#pagesInFiles(pool);
      return pool;
    }
    const cellsEach = Math.floor(cells / conversations);
    return new FixedPlaces({
      context: Math.min(context, cellsEach),
      cellsEach,
      conversations,
      slotsEach: slotsEach(this.options),
      rewind: rewindOf(layers, cellsEach, chunkTokens),
    });
  }

  #pagesInFiles(pool: CellPool): KeptPages {
    return new KeptPages({
      pipeline: this.#pipeline,
      route: () => this.#route,
      root: () => this.#deployment.pageRoot,
      hold: (use) => pool.hold(use),
    });
  }

  /** Steps that follow rely on it. */
  async #copy(copies: readonly PageCopy[]): Promise<void> {
    try {
      await this.#pipeline.move(copies);
    } catch (error) {
      // On another route nothing is in the cells anyway.
      const isOver = error instanceof CoordinatorError && error.code !== 'step';
      if (!isOver) this.#pipeline.break(error as Error);
    }
  }

  /** While a route is prepared. */
  get #unusedCells(): CellRange {
    const { cells } = this.#deployment.cellBudget;
    return { start: 0, length: Math.floor(cells / (this.options.conversations ?? 1)) };
  }

  async #knowCosts(): Promise<RouteCosts> {
    const { cacheDirectory, chunkTokens, measuresCosts } = this.options;
    const keys = this.#deployment.costKeys;
    if (!measuresCosts && !this.#speculator?.needsCosts) return RouteCosts.unknown(keys);
    const costs = await RouteCosts.of(keys, {
      pipeline: this.#pipeline,
      startTrace: () => this.startTrace(),
      stopTrace: () => this.stopTrace(),
      cache: new CostCache(cacheDirectory),
      cells: this.#unusedCells,
      mostTokens: chunkTokens,
    });
    // Steps that were made up are in nobody's statistics.
    await this.stats({ reset: true });
    return costs;
  }

  async #calibrateKv(): Promise<void> {
    const { calibrationText, chunkTokens, onCalibration } = this.options;
    const text = calibrationText();
    let done = 0;
    onCalibration?.(done, text.length);
    const segments = calibrationSegments(text, this.#unusedCells, chunkTokens);
    await Promise.all(
      segments.map(async (segment) => {
        await this.#pipeline.submit([segment], { calibratesKv: true }).results[0];
        onCalibration?.((done += segment.tokens.length), text.length);
      }),
    );
  }

  async #prepareSpeculation(): Promise<void> {
    const speculation = await this.options.speculation?.();
    if (speculation) this.#speculator = new Speculator(speculation, this.options.logger);
  }

  /** Chunks of the next prompt are cut by what this one has taught the stages. */
  async #learnCosts(): Promise<void> {
    const costs = this.#costs;
    if (this.#isLearningCosts) return;
    this.#isLearningCosts = true;
    try {
      const reports = await this.#deployment.computingReports();
      // Of the costs of another route they would tell nothing.
      if (costs === this.#costs) await costs.learn(reports.map(({ times }) => times));
    } catch {
      // A lost worker is told of elsewhere.
    } finally {
      this.#isLearningCosts = false;
    }
  }

  #reports(reset: boolean): Promise<StageReport[]> {
    return Promise.all(this.#deployment.stages.map((stage) => stage.report(reset)));
  }

  #lose(error: CoordinatorError): void {
    this.options.logger.debug(error.message);
    if (this.options.onLostWorker === 'wait') this.#pipeline.suspend();
    else this.#pipeline.break(error);
    this.#fail(error);
  }
}
