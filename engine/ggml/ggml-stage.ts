import { checkModel } from '../../model/architectures/check-model.js';
import type { Model } from '../../model/architectures/model.js';
import { headMatrix } from '../../model/shard-tensors.js';
import type { Shard } from '../../step/shard.js';
import type { PageCopy } from '../../step/pages.js';
import { rowsOfStep, type SegmentResult, type Step } from '../../step/step.js';
import { fewRows } from '../../step/tiles.js';
import { checkStep, hiddenOf, stepLimits, type StepLimits } from '../check-step.js';
import {
  EngineError,
  type KvType,
  type Stage,
  type StageMemory,
  type StageOptions,
  type StagePages,
  type StepInSlices,
} from '../engine.js';
import { RoutingCounts } from '../routing-counts.js';
import { Resources } from '../resources.js';
import { headDemand, segmentResults, type HeadDemand } from '../sampling/step-results.js';
import { EventLoopShare } from '../event-loop-share.js';
import { checkedPages } from '../checked-pages.js';
import { StageLifetime } from '../stage-lifetime.js';
import type { CellAttention } from './attention/attention.js';
import { chooseAttention, type KnownAttention } from './attention/choose-attention.js';
import { KvCache } from './attention/kv-cache.js';
import { MaskWriter } from './attention/mask-writer.js';
import { Backend } from './backend.js';
import type { Ggml } from './bindings.js';
import type { GgmlDevice } from './devices.js';
import { Embedding } from './embedding.js';
import { GraphCache, type ShapeGraphs } from './graph-cache.js';
import { GgmlPages } from './ggml-pages.js';
import { Products, type KnownRules } from './products.js';
import { reservedShapes, stepShape } from './step-shape.js';
import type { StageParts } from './stage-parts.js';
import type { LayerRange, StepGraph } from './step-graph.js';
import { StateMemory } from './state/state-memory.js';
import { Weights } from './weights.js';

/** What stages of an engine share. */
export interface GgmlContext {
  readonly ggml: Ggml;
  readonly device: GgmlDevice;
  readonly cpu: GgmlDevice;
  readonly threads: number;
  readonly knownRules: KnownRules;
  readonly knownAttention: KnownAttention;
}

/** What a stage computes with. */
interface Computing {
  readonly backend: Backend;
  readonly embedding: Embedding | undefined;
  readonly graphs: GraphCache;
  /** Undefined where cells cannot be moved. */
  readonly pages: GgmlPages | undefined;
}

/** Devices' kernels for layers that keep a state are not known to be right: Vulkan's are not. */
function refuseStatesOn(
  { kind, name }: GgmlDevice,
  { layers, family }: Pick<Model, 'layers' | 'family'>,
  { firstLayer, endLayer }: Shard,
): void {
  const hasStates = layers
    .slice(firstLayer, endLayer)
    .some(({ attention }) => attention.kind === 'linear');
  if (hasStates && kind !== 'cpu')
    throw new EngineError(
      'unsupported',
      `${name} does not compute layers that keep a state (a model of the ${family} family) yet: use --device cpu`,
    );
}

/** What is asked of a head that is not there. */
const nothing: HeadDemand = { rows: new Int32Array(0), likeliest: false, logits: false };

/** A shard loaded into ggml buffers. */
export class GgmlStage implements Stage {
  readonly pages?: StagePages;
  readonly routings: RoutingCounts | undefined;
  readonly #lifetime: StageLifetime;
  /** [rows, hiddenSize] of the largest step. */
  readonly #embedded: Float32Array;
  /** [vocabulary] of one row. */
  readonly #logits: Float32Array;
  #isGivenUp = false;
  /** What the last long step is computed with: none other has changed its inputs. */
  #entered: ShapeGraphs | undefined;

  private constructor(
    private readonly parts: StageParts,
    private readonly computing: Computing,
    private readonly limits: StepLimits,
    readonly kvType: KvType,
    resources: Resources,
  ) {
    const { sizes, shard, layers, countsRoutings } = parts;
    this.#lifetime = new StageLifetime(() => resources[Symbol.dispose]());
    this.#embedded = new Float32Array(shard.embedding ? limits.maxStepRows * sizes.hiddenSize : 0);
    this.#logits = new Float32Array(shard.head ? sizes.vocabulary : 0);
    const { pages } = computing;
    if (pages) this.pages = checkedPages(pages, limits, this.#lifetime);
    if (countsRoutings) this.routings = new RoutingCounts(layers, shard.firstLayer, shard.endLayer);
  }

  /** Loads weights and reserves all memory. @throws ModelError, EngineError; the signal's reason */
  static async load(context: GgmlContext, options: StageOptions): Promise<GgmlStage> {
    const { ggml, device, cpu, threads, knownRules, knownAttention } = context;
    const { source, shard, kvType, maxStepRows, conversations = 1, signal } = options;
    const { countsRoutings = false } = options;
    const model = checkModel(source, shard);
    const { sizes } = model;
    const headName = headMatrix(source.tensors);
    refuseStatesOn(device, model, shard);
    const resources = new Resources();
    try {
      const backend = resources.take(new Backend(ggml, device, threads));
      const layers = model.layers.slice(shard.firstLayer, shard.endLayer);
      const choose = (attention: CellAttention, cells: number) =>
        chooseAttention(ggml, backend, { attention, kvType, cells }, knownAttention);
      const kv = resources.take(
        await KvCache.allocate(ggml, device.bufferType, layers, choose, options),
      );
      const { states: slots = conversations } = options;
      const states = resources.take(
        StateMemory.allocate(ggml, device.bufferType, layers, shard.firstLayer, slots),
      );
      const weights = resources.take(await Weights.load(ggml, options, model, device, cpu));
      const products = await Products.choose(ggml, backend, weights, knownRules);
      const masks = new MaskWriter(ggml);
      const ofModel = { ...model, shard, headName, countsRoutings };
      const parts = { ...ofModel, weights, products, kv, states, masks };
      const graphs = resources.take(new GraphCache(ggml, device, parts));
      for (const shape of reservedShapes(shard, kv, maxStepRows)) graphs.reserve(shape);
      const embedding = shard.embedding
        ? resources.take(new Embedding(ggml, resources.take(new Backend(ggml, cpu, 1)), weights))
        : undefined;
      signal?.throwIfAborted();
      // A state belongs to a text, and stands for all of it.
      const pages = states.isUsed ? undefined : GgmlPages.of(ggml, backend, kv, options.cells);
      if (!pages) await kv.clear(signal);
      const limits = stepLimits(options, sizes.vocabulary, {
        movesPages: pages !== undefined,
        states: states.isUsed ? slots : 0,
      });
      const computing = { backend, embedding, graphs, pages };
      return new GgmlStage(parts, computing, limits, kvType, resources);
    } catch (error) {
      resources[Symbol.dispose]();
      throw error;
    }
  }

  get shard(): Shard {
    return this.parts.shard;
  }

  get hiddenSize(): number {
    return this.parts.sizes.hiddenSize;
  }

  get memory(): StageMemory {
    return {
      weights: this.parts.weights.bytes,
      kv: this.parts.kv.bytes + this.parts.states.bytes,
      compute: this.computing.graphs.bytes,
    };
  }

  async forward(
    step: Step,
    hidden: Float32Array,
    output: Float32Array,
  ): Promise<readonly SegmentResult[]> {
    if (step.copies) return this.#copy(step, step.copies);
    return (await this.#inSlices(step, hidden, output).compute(Infinity)) ?? [];
  }

  begin(step: Step, hidden: Float32Array, output: Float32Array): StepInSlices {
    return this.#inSlices(step, hidden, output);
  }

  logits(step: Step, hidden: Float32Array): Promise<Float32Array> {
    return this.#lifetime.compute(async () => {
      if (!this.shard.head) throw new EngineError('unsupported', 'this shard has no head');
      const { rows } = headDemand(step);
      this.#isGivenUp = false;
      const graphs = await this.#enter(step, hidden, { rows, likeliest: false, logits: true });
      const { firstLayer: first, endLayer: end } = this.shard;
      const graph = await this.#run(graphs, { first, end });
      const logits = new Float32Array(rows.length * this.parts.sizes.vocabulary);
      if (rows.length > 0) graph.getLogits(logits);
      return logits;
    });
  }

  abort(): void {
    if (!this.#lifetime.isComputing) return;
    this.#isGivenUp = true;
    this.computing.backend.abort();
  }

  dispose(): void {
    this.#lifetime.close();
  }

  #copy(step: Step, copies: readonly PageCopy[]): Promise<SegmentResult[]> {
    return this.#lifetime.compute(async () => {
      checkStep(step, this.limits);
      await this.computing.pages?.copy(copies);
      return [];
    });
  }

  #inSlices(step: Step, hidden: Float32Array, output: Float32Array): StepInSlices {
    const { firstLayer, endLayer, head } = this.shard;
    const demand = head ? headDemand(step) : nothing;
    let first = firstLayer;
    let graphs: ShapeGraphs | undefined;
    const compute = async (layers: number) => {
      this.#isGivenUp = false;
      if (graphs && graphs !== this.#entered)
        throw new EngineError('internal', 'another long step has come in between');
      graphs ??= await this.#enter(step, hidden, demand);
      const end = Math.min(first + layers, endLayer);
      const graph = await this.#run(graphs, { first, end });
      first = end;
      if (end < endLayer) return undefined;
      if (head) return this.#results(step, graph, demand);
      graphs.inputs.getHidden(hiddenOf(output, step, this.hiddenSize));
      return [];
    };
    return { compute: (layers) => this.#lifetime.compute(() => compute(layers)) };
  }

  /** What a step is computed with, its inputs set. */
  async #enter(step: Step, hidden: Float32Array, demand: HeadDemand): Promise<ShapeGraphs> {
    checkStep(step, this.limits);
    const { segments } = step;
    await this.computing.pages?.clearNew(segments);
    const graphs = this.computing.graphs.get(stepShape(step, demand, this.parts.kv));
    if (rowsOfStep(step) > fewRows) this.#entered = graphs;
    await graphs.inputs.set(segments, this.#entering(step, hidden), demand.rows);
    return graphs;
  }

  /** What enters the layers: embedded tokens, or what the stage before gave. */
  #entering(step: Step, hidden: Float32Array): Float32Array {
    const { embedding } = this.computing;
    if (!embedding) return hiddenOf(hidden, step, this.hiddenSize);
    const rows = hiddenOf(this.#embedded, step, this.hiddenSize);
    embedding.lookUp(step.segments, rows);
    return rows;
  }

  /** What is short is computed at once, as far as everything else has its turns. */
  async #run(graphs: ShapeGraphs, layers: LayerRange): Promise<StepGraph> {
    const { backend, graphs: cache } = this.computing;
    const graph = cache.graph(graphs, layers);
    graph.computeMs = await EventLoopShare.running.run(graph.computeMs, (isInstant) => {
      if (this.#isGivenUp) throw new EngineError('compute', 'the step was given up');
      return isInstant ? backend.computeNow(graph.graph) : backend.compute(graph.graph);
    });
    graph.getRoutings((layer, ids, rows) => this.routings?.add(layer, ids, rows));
    return graph;
  }

  #results(step: Step, graph: StepGraph, demand: HeadDemand): SegmentResult[] {
    const likeliest = new Int32Array(demand.likeliest ? demand.rows.length : 0);
    if (demand.likeliest) graph.getLikeliest(likeliest);
    return segmentResults(step, {
      likeliest: (index) => likeliest[index]!,
      logits: (index) => {
        graph.getLogits(this.#logits, index);
        return this.#logits;
      },
    });
  }
}
