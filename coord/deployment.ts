import { createHash, randomUUID } from 'node:crypto';
import type { StageMemory, StageSizes } from '../engine/engine.js';
import { estimateStageMemory } from '../engine/memory.js';
import { readModel, readModelSizes } from '../model/architectures/model.js';
import type { StageReport } from '../transport/messages/messages.js';
import { PageStore } from '../stage/page-files/page-store.js';
import { tileRows } from '../step/tiles.js';
import { isEmpty, type Shard } from '../step/shard.js';
import { cellBudget, sharesCells, type CellBudget } from './cell-budget.js';
import {
  channelOf,
  checkCodecs,
  codecOf,
  slotsEach,
  type CoordinatorOptions,
} from './coordinator-options.js';
import { CoordinatorError } from './errors.js';
import { expectedStep, type PlacedShard } from './expected-step.js';
import { Links, type NamedLink } from './links.js';
import { longText } from './measure-costs.js';
import { LocalStage } from './local-stage.js';
import {
  checkMemory,
  leavesMemory,
  splitLayers,
  type Candidate,
  type Plan,
  type PlannedStage,
} from './plan.js';
import { RemoteStage } from './remote-stage.js';
import {
  connectWorkers,
  RemoteWorker,
  type Introduction,
  type WorkerAddress,
} from './remote-worker.js';
import { Route } from './route.js';
import type { StagePort, StagePortEvents } from './stage-port.js';
import { TensorHashes } from './tensor-hashes.js';

export interface DeploymentEvents extends Omit<StagePortEvents, 'onLinkLost'> {
  /** A worker is gone by itself. */
  onLost(error: CoordinatorError): void;
}

/** Which shard is where: has a plan's stages loaded and linked, and moves them to other workers. */
export class Deployment {
  readonly #introduction: Introduction;
  readonly #hashes: TensorHashes;
  readonly #workers = new Set<RemoteWorker>();
  readonly #links: Links;
  readonly #pageStore: PageStore;
  #shards: readonly Shard[] = [];
  #stages: StagePort[] = [];
  #planned: PlannedStage[] = [];
  #budget: CellBudget = { context: 0, cells: 0 };
  #kvTypes = new Set<string>();
  #movesPages = true;
  #epoch = 0;
  #isClosed = false;

  private constructor(
    private readonly options: CoordinatorOptions,
    private readonly events: DeploymentEvents,
  ) {
    const { softwareVersion, secret } = options;
    this.#introduction = {
      session: randomUUID(),
      softwareVersion,
      ...(secret ? { secret } : {}),
    };
    this.#links = new Links(options.logger);
    const { cacheDirectory, kvDisk, logger } = options;
    this.#pageStore = new PageStore({ cacheDirectory, limitBytes: kvDisk, logger });
    this.#hashes = new TensorHashes(options.source, options.cacheDirectory);
  }

  /**
   * Connects to the workers, and splits the model.
   * @throws ModelError, TransportError, CoordinatorError 'plan', 'memory', 'worker-refused'
   */
  static async open(options: CoordinatorOptions, events: DeploymentEvents): Promise<Deployment> {
    const deployment = new Deployment(options, events);
    try {
      await deployment.#plan();
      return deployment;
    } catch (error) {
      await deployment.close('the coordinator gave up');
      throw error;
    }
  }

  get plan(): Plan {
    return { stages: this.#planned };
  }

  get cellBudget(): CellBudget {
    return this.#budget;
  }

  /** In pipeline order, the coordinator's own first. */
  get stages(): readonly StagePort[] {
    return this.#stages;
  }

  /** How hidden states travel, in pipeline order: from each stage but the last to the next. */
  get links(): readonly NamedLink[] {
    return this.#links.links;
  }

  /** What the costs of every stage with layers depend on. */
  get costKeys(): string[] {
    const { source, conversations = 1, kvType, chunkTokens } = this.options;
    const choices = [source.fingerprint, kvType, conversations > 1, chunkTokens];
    const hasLongText = this.#budget.context >= longText;
    return this.#shards.flatMap((shard, i) => {
      const { computer } = this.#stages[i] as StagePort;
      return isEmpty(shard) ? [] : [JSON.stringify([computer, shard, choices, hasLongText])];
    });
  }

  /** All that keys and values depend on besides texts. @returns 64 hex digits */
  get pageRoot(): string {
    const { source, kvType, chunkTokens } = this.options;
    const stages = this.#stages.map(({ arithmetic }, i) => [arithmetic, this.#shards[i]]);
    const codecs = this.links.map(({ codec }) => codec);
    // Shorter steps than a tile are computed as such.
    const chunk = Math.min(chunkTokens, tileRows);
    const all = [source.fingerprint, kvType, stages, codecs, chunk];
    return createHash('sha256').update(JSON.stringify(all)).digest('hex');
  }

  /** What every stage with layers tells of itself. @throws CoordinatorError 'worker-lost' */
  async computingReports(): Promise<StageReport[]> {
    const computing = this.#stages.filter((_, i) => !isEmpty(this.#shards[i] as Shard));
    return Promise.all(computing.map((stage) => stage.report(false)));
  }

  /** Whether all stages can move cells. */
  get movesPages(): boolean {
    return this.#movesPages;
  }

  /** What stages keep keys and values in. */
  get kvTypes(): ReadonlySet<string> {
    return this.#kvTypes;
  }

  /**
   * Has all stages loaded. The first that cannot has the others given up.
   * @throws ModelError, EngineError, TransportError, CoordinatorError 'worker-refused', 'worker-lost'
   */
  async load(): Promise<void> {
    const giveUp = new AbortController();
    const loads = this.#stages.map(async (stage, i) => {
      try {
        await this.#loadStage(stage, i, giveUp.signal);
      } catch (error) {
        giveUp.abort(error);
        throw error;
      }
    });
    // All must have settled before anything is undone, so that no load goes on behind our back.
    await Promise.allSettled(loads);
    giveUp.signal.throwIfAborted();
  }

  /** Links the stages to a new route. @throws TransportError, CoordinatorError 'worker-refused', 'worker-lost' */
  async link(): Promise<Route> {
    const { transport, rdmaQueue } = channelOf(this.options);
    const stages = this.#stages;
    const expected = expectedStep(this.options.source, this.#placedShards);
    const route = await Route.link(++this.#epoch, stages, (link) => ({
      expected,
      codec: this.#links.choiceFor(stages, link, codecOf(this.options, link)),
      transport,
      ...(rdmaQueue ? { rdmaQueue } : {}),
    }));
    this.#links.linked(stages, route.links);
    return route;
  }

  /**
   * Loads the shard of a stage on another worker. The old stage goes on until the route is linked anew; `free` it then.
   * @param index of the stage in the plan, 1 or more
   * @returns the old stage
   * @throws TransportError, CoordinatorError 'plan', 'worker-refused', 'worker-lost'
   */
  async move(index: number, address: WorkerAddress): Promise<StagePort> {
    const old = this.#stages[index];
    if (!old || index === 0)
      throw new CoordinatorError('plan', `stage ${index} cannot be moved: workers hold 1 and up`);
    const worker = this.#workerAt(address) ?? (await this.#connect(address));
    const stage = this.#remoteStage(worker);
    const movedPages = this.#movesPages;
    try {
      await this.#loadStage(stage, index, new AbortController().signal);
      if (movedPages && !this.#movesPages)
        throw new CoordinatorError(
          'worker-refused',
          `worker ${stage.name} cannot move keys and values, as texts that share cells need: choose one with the engine of the others`,
        );
    } catch (error) {
      this.#movesPages = movedPages;
      await this.free(stage);
      throw error;
    }
    this.#stages = this.#stages.with(index, stage);
    const planned = this.#planned[index] as PlannedStage;
    const moved = { ...planned, name: stage.name, device: worker.welcome.device };
    this.#planned = this.#planned.with(index, moved);
    return old;
  }

  /** Frees a stage that is in no route, and its worker when it holds no other. */
  async free(stage: StagePort): Promise<void> {
    await stage.close('the stage was moved');
    if (!(stage instanceof RemoteStage) || stage.worker.stages > 0) return;
    stage.worker.close('it holds no stage any more');
    this.#workers.delete(stage.worker);
  }

  /** Ends everything. Idempotent. */
  async close(reason: string): Promise<void> {
    this.#isClosed = true;
    for (const worker of this.#workers) worker.close(reason);
    await this.#stages[0]?.close(reason);
    await this.#pageStore.written();
  }

  async #plan(): Promise<void> {
    const { source, engine, layers: wanted, workers: addresses, reservedBytes = 0 } = this.options;
    const { layers } = readModelSizes(source);
    const workers = await connectWorkers(addresses, this.#introduction);
    for (const worker of workers) this.#adopt(worker);
    const { device } = engine;
    const own = { name: 'coordinator', machine: 'local' };
    const candidates: Candidate[] = [
      { ...own, device: device.name, freeBytes: device.freeBytes - reservedBytes },
      ...workers.map(candidateOf),
    ];
    this.#shards = splitLayers(layers, candidates, wanted);
    for (const worker of workers) worker.checkModel(source);
    checkCodecs(this.options);
    const engines = [engine.name, ...workers.map((worker) => worker.engine)];
    const memoryWith = (cells: number) =>
      this.#shards.map((shard, i) =>
        isEmpty(shard)
          ? { weights: 0, kv: 0, compute: 0 }
          : estimateStageMemory(engines[i] ?? engine.name, { ...this.#sizes(shard), cells }),
      );
    this.#budget = this.#budgetFor((cells) => leavesMemory(memoryWith(cells), candidates));
    const memory = memoryWith(this.#budget.cells);
    this.#planned = this.#shards.map(({ firstLayer, endLayer }, i) => {
      const { name, device } = candidates[i] as Candidate;
      const layers = endLayer - firstLayer;
      return { name, device, firstLayer, endLayer, layers, memory: memory[i] as StageMemory };
    });
    checkMemory(this.plan, candidates);
    this.#stages = [this.#localStage(), ...workers.map((worker) => this.#remoteStage(worker))];
  }

  #budgetFor(fits: (cells: number) => boolean): CellBudget {
    const { sizes, layers } = readModel(this.options.source);
    return cellBudget(this.options, sizes.contextLength, sharesCells(layers), fits);
  }

  #localStage(): LocalStage {
    const { source, engine, turns, chunkTokens, logger } = this.options;
    const { hiddenSize } = readModelSizes(source);
    const host = { ...this.#introduction, name: 'coordinator', channel: channelOf(this.options) };
    return new LocalStage(
      engine,
      { ...host, hiddenSize, maxStepRows: chunkTokens, turns, pageStore: this.#pageStore, logger },
      this.#portEvents,
    );
  }

  #remoteStage(worker: RemoteWorker): RemoteStage {
    return new RemoteStage(worker, this.#hashes, this.#portEvents);
  }

  get #portEvents(): StagePortEvents {
    const { onResult, onStepFailed } = this.events;
    return { onResult, onStepFailed, onLinkLost: (from, why) => this.#linkLost(from, why) };
  }

  /** Names the stage that a link led to: it is what is gone, or out of reach. */
  #linkLost(from: StagePort, why: string): void {
    const index = this.#stages.indexOf(from);
    const next = this.#stages[index + 1];
    // A stage that was moved loses its link to whoever follows it.
    if (index < 0 || !next || this.#isClosed) return;
    const via = from.name === 'coordinator' ? '' : `worker ${from.name} lost its link to it: `;
    this.events.onLost(
      new CoordinatorError('worker-lost', `lost worker ${next.name}: ${via}${why}`),
    );
  }

  async #loadStage(stage: StagePort, index: number, signal: AbortSignal): Promise<void> {
    const { onProgress } = this.options;
    const { kvType, movesPages } = await stage.load({
      ...this.#sizes(this.#shards[index] as Shard),
      signal,
      onProgress: (loadedBytes, totalBytes) =>
        onProgress?.({ stage: stage.name, loadedBytes, totalBytes }),
    });
    if (kvType) this.#kvTypes.add(kvType);
    this.#movesPages &&= movesPages;
  }

  get #placedShards(): PlacedShard[] {
    const { engine } = this.options;
    const own = { device: engine.device.name, threads: engine.threads };
    return this.#shards.map((shard, i) => {
      const stage = this.#stages[i];
      return { shard, ...(stage instanceof RemoteStage ? stage.worker.welcome : own) };
    });
  }

  #sizes(shard: Shard): StageSizes {
    const { source, conversations = 1, kvType, chunkTokens } = this.options;
    const { countsRoutings = false } = this.options;
    const { cells } = this.#budget;
    const slots = slotsEach(this.options);
    const states = slots > 0 ? { states: slots * conversations } : {};
    const asked = { kvType, maxStepRows: chunkTokens, countsRoutings };
    return { source, shard, cells, conversations, ...states, ...asked };
  }

  #workerAt({ host, port }: WorkerAddress): RemoteWorker | undefined {
    return [...this.#workers].find(
      ({ address, isGone }) => address.host === host && address.port === port && !isGone,
    );
  }

  async #connect(address: WorkerAddress): Promise<RemoteWorker> {
    const worker = await RemoteWorker.connect(address, this.#introduction);
    this.#adopt(worker);
    return worker;
  }

  #adopt(worker: RemoteWorker): void {
    this.#workers.add(worker);
    void worker.lost.then((error) => {
      if (this.#stages.some((stage) => stage instanceof RemoteStage && stage.worker === worker))
        this.events.onLost(error);
    });
  }
}

/** A worker's machine, as the plan sees it; those on loopback share the coordinator's. */
function candidateOf({ name, address, welcome }: RemoteWorker): Candidate {
  const isLoopback = /^(127\.|::1$|localhost$)/.test(address.host);
  return {
    name,
    device: welcome.device,
    machine: isLoopback ? 'local' : welcome.machineId || address.host,
    freeBytes: welcome.freeBytes,
  };
}
