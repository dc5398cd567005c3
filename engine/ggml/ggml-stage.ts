import { architectureOf } from '../../model/architectures/registry.js';
import { headMatrix, type Shard } from '../../model/shard.js';
import { checkBatch, limitsOf, rowsOf, type BatchLimits } from '../batch.js';
import {
  EngineError,
  type Batch,
  type KvType,
  type Stage,
  type StageMemory,
  type StageOptions,
} from '../engine.js';
import { sampleBatch } from '../sampling/sample-batch.js';
import { isGreedy } from '../sampling/sampler.js';
import { Backend } from './backend.js';
import type { Ggml } from './bindings.js';
import type { GgmlDevice } from './devices.js';
import { EmbeddingGraph } from './embedding-graph.js';
import { GraphCache } from './graph-cache.js';
import { KvCache } from './kv-cache.js';
import type { HeadOutput, StageParts, StepGraph } from './step-graph.js';
import type { Turns } from '../turns.js';
import { Weights } from './weights.js';

/** Embedding graphs to keep: decoding uses one size, verification and prefill a few. */
const embeddingGraphs = 16;

/** Steps that take less than this are computed on the event loop's thread. */
const instantMs = 0.1;

/** Output rows that scratch memory is reserved for; more are possible and make it grow. */
const reservedOutputs = 16;

/** Devices and threads that stages of an engine share. */
export interface GgmlContext {
  readonly ggml: Ggml;
  readonly device: GgmlDevice;
  readonly cpu: GgmlDevice;
  readonly threads: number;
  readonly turns: Turns;
}

/** A shard loaded into ggml buffers. */
export class GgmlStage implements Stage {
  readonly #backend: Backend;
  readonly #cpuBackend: Backend;
  readonly #graphs: GraphCache;
  readonly #embeddings = new Map<number, EmbeddingGraph>();

  private constructor(
    private readonly context: GgmlContext,
    private readonly parts: StageParts,
    private readonly limits: BatchLimits,
    readonly kvType: KvType,
  ) {
    this.#backend = new Backend(context.ggml, context.device, context.threads);
    this.#cpuBackend = new Backend(context.ggml, context.cpu, 1);
    this.#graphs = new GraphCache(context.ggml, context.device, parts);
  }

  /** Loads weights and reserves all memory. @throws ModelError, EngineError */
  static async load(context: GgmlContext, options: StageOptions): Promise<GgmlStage> {
    const { ggml, device, cpu } = context;
    const { source, shard, cells, kvType } = options;
    const architecture = architectureOf(source);
    const sizes = architecture.hyperparameters(source);
    const headName = headMatrix(source.tensors);
    const limits = limitsOf(options, sizes.vocabulary);
    const kv = new KvCache(ggml, device.bufferType, sizes, shard, cells, kvType);
    let weights: Weights | undefined;
    let stage: GgmlStage | undefined;
    try {
      weights = await Weights.load(ggml, source, shard, device, cpu, options.onProgress);
      const parts = { architecture, sizes, shard, weights, kv, headName };
      stage = new GgmlStage(context, parts, limits, kvType);
      stage.#reserve();
      return stage;
    } catch (error) {
      if (stage) stage.#disposeGraphs();
      weights?.[Symbol.dispose]();
      kv[Symbol.dispose]();
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
      kv: this.parts.kv.bytes,
      compute: this.#graphs.bytes,
    };
  }

  async forward(batch: Batch, hidden: Float32Array, output: Float32Array): Promise<Int32Array> {
    if (!this.shard.head) {
      const graph = await this.#compute(batch, hidden, 'none');
      graph.getResult(rowsOf(output, batch, this.hiddenSize));
      return new Int32Array(0);
    }
    if (batch.outputs.length === 0) {
      await this.#compute(batch, hidden, 'none');
      return new Int32Array(0);
    }
    if (!isGreedy(batch.sampling))
      return sampleBatch(batch, await this.logits(batch, hidden), this.limits.vocabulary);
    const graph = await this.#compute(batch, hidden, 'argmax');
    const chosen = new Int32Array(batch.outputs.length);
    graph.getResult(chosen);
    return chosen;
  }

  async logits(batch: Batch, hidden: Float32Array): Promise<Float32Array> {
    if (!this.shard.head) throw new EngineError('this shard has no head');
    const graph = await this.#compute(batch, hidden, 'logits');
    const logits = new Float32Array(batch.outputs.length * this.limits.vocabulary);
    graph.getResult(logits);
    return logits;
  }

  abort(): void {
    this.#backend.abort();
  }

  dispose(): void {
    this.#disposeGraphs();
    this.parts.weights[Symbol.dispose]();
    this.parts.kv[Symbol.dispose]();
  }

  async #compute(batch: Batch, hidden: Float32Array, head: HeadOutput): Promise<StepGraph> {
    checkBatch(batch, this.limits);
    const graph = this.#graphs.get({
      tokens: batch.tokens.length,
      outputs: head === 'none' ? 0 : batch.outputs.length,
      windowStart: batch.windowStart,
      windowLength: batch.windowLength,
      head,
    });
    graph.setInputs(
      batch,
      this.shard.embedding ? this.#embed(batch) : rowsOf(hidden, batch, this.hiddenSize),
    );
    await this.context.turns.take(() => this.#run(graph));
    return graph;
  }

  /** What is computed sooner than another thread would be awake is computed here. */
  async #run(graph: StepGraph): Promise<void> {
    const begin = performance.now();
    if (graph.computeMs < instantMs) this.#backend.computeNow(graph.graph);
    else await this.#backend.compute(graph.graph);
    graph.computeMs = performance.now() - begin;
  }

  #embed(batch: Batch): Float32Array {
    const { ggml } = this.context;
    const tokens = batch.tokens.length;
    let graph = this.#embeddings.get(tokens);
    if (!graph) {
      if (this.#embeddings.size >= embeddingGraphs) this.#disposeEmbeddings();
      graph = new EmbeddingGraph(ggml, this.#cpuBackend, this.parts.weights.embedding, tokens);
      this.#embeddings.set(tokens, graph);
    }
    const hidden = new Float32Array(tokens * this.hiddenSize);
    graph.lookUp(batch.tokens, hidden);
    return hidden;
  }

  /** Scratch memory for the largest prefill chunk and for a verification step, so that it never has to grow. */
  #reserve(): void {
    const { cells, maxBatchTokens } = this.limits;
    const head = this.shard.head ? 'logits' : 'none';
    const window = { windowStart: 0, windowLength: cells, head } as const;
    this.#graphs.reserve({ ...window, tokens: maxBatchTokens, outputs: 1 });
    const outputs = Math.min(reservedOutputs, maxBatchTokens);
    this.#graphs.reserve({ ...window, tokens: outputs, outputs });
  }

  #disposeEmbeddings(): void {
    for (const graph of this.#embeddings.values()) graph[Symbol.dispose]();
    this.#embeddings.clear();
  }

  #disposeGraphs(): void {
    this.#disposeEmbeddings();
    this.#graphs[Symbol.dispose]();
    this.#backend[Symbol.dispose]();
    this.#cpuBackend[Symbol.dispose]();
  }
}
