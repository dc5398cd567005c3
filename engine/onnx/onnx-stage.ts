import { architectureOf } from '../../model/architectures/registry.js';
import { headMatrix, ropeFactorsTensor, type Shard } from '../../model/shard.js';
import { checkBatch, limitsOf, rowsOf, type BatchLimits } from '../batch.js';
import {
  EngineError,
  type Batch,
  type Stage,
  type StageMemory,
  type StageOptions,
} from '../engine.js';
import { isGreedy } from '../sampling/sampler.js';
import { sampleBatch } from '../sampling/sample-batch.js';
import type { Turns } from '../turns.js';
import { causalStart } from './causal-range.js';
import { CausalSteps } from './causal-steps.js';
import { rowsOfLoneToken } from './graph/lone-token-attention.js';
import { buildShardModel, type ShardParts } from './graph/shard-graph.js';
import { KvCache } from './kv-cache.js';
import { DeviceKvMemory, HostKvMemory, type KvMemory } from './kv-memory.js';
import { storageFor, type KvStorage } from './kv-type.js';
import { LoneToken } from './lone-token.js';
import { MaskedSteps } from './masked-steps.js';
import { RopeTable } from './rope-table.js';
import { Session, type SessionOptions } from './session.js';
import { StepMemory, type Wanted } from './step-memory.js';
import type { MatrixCache } from './weights/matrix-cache.js';
import { ShardWeights } from './weights/shard-weights.js';

/** What stages of an engine share. */
export interface OnnxContext extends SessionOptions {
  readonly turns: Turns;
  readonly matrices: MatrixCache;
  /** Whether types that cannot be computed with exactly may become 8 bits. */
  readonly requantize: boolean;
}

/** A shard loaded into an ONNX Runtime session. */
export class OnnxStage implements Stage {
  /** Loaded when the first batch comes that is not plain text. */
  #masked: Promise<MaskedSteps> | undefined;
  #running: Session | undefined;
  #isCalibrated = false;

  private constructor(
    private readonly context: OnnxContext,
    private readonly parts: ShardParts,
    private readonly limits: BatchLimits,
    private readonly causal: CausalSteps,
    private readonly steps: StepMemory,
    private readonly kv: KvMemory,
    readonly kvType: KvStorage,
  ) {}

  /** Loads weights and allocates all memory. @throws ModelError, EngineError */
  static async load(context: OnnxContext, options: StageOptions): Promise<OnnxStage> {
    const { source, shard, cells, conversations = 1, maxBatchTokens, onProgress } = options;
    const architecture = architectureOf(source);
    const sizes = architecture.hyperparameters(source);
    const storage = storageFor(options.kvType, context.provider);
    const headName = headMatrix(source.tensors);
    const limits = limitsOf(options, sizes.vocabulary);
    const { matrices, requantize } = context;
    const isCpu = context.provider.kind === 'cpu';
    // Devices fuse products in ways of their own.
    const how = { requantize, joins: isCpu };
    const weights = await ShardWeights.load(source, shard, matrices, how, onProgress);
    const parts = { architecture, sizes, shard, weights, headName };
    const rope = new RopeTable(sizes, weights.optionalVector(ropeFactorsTensor));
    const steps = new StepMemory(sizes, shard, rope, maxBatchTokens, storage);
    // Devices have kernels of their own, of which none is known to round like another; attention to int8 has only one.
    const lone = isCpu && storage === 'f32' ? new LoneToken(rowsOfLoneToken(sizes)) : undefined;
    const model = buildShardModel(parts, { kind: lone ? 'invariant' : 'plain', storage });
    const session = await Session.open(context, model, weights.folder);
    const { memoryName } = session.provider;
    try {
      const kv =
        memoryName === undefined
          ? new HostKvMemory(new KvCache(sizes, shard, cells + (lone?.extraCells ?? 0), storage))
          : new DeviceKvMemory(session, memoryName, sizes, shard, cells, conversations);
      const causal = new CausalSteps(session, steps, kv, lone);
      return new OnnxStage(context, parts, limits, causal, steps, kv, storage);
    } catch (error) {
      session[Symbol.dispose]();
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
      kv: this.kv.bytes,
      compute: this.steps.bytes,
    };
  }

  async forward(batch: Batch, hidden: Float32Array, output: Float32Array): Promise<Int32Array> {
    const none = new Int32Array(0);
    if (!this.shard.head) {
      await this.#compute(batch, hidden, 'hidden');
      const into = rowsOf(output, batch, this.hiddenSize);
      into.set(this.steps.nextHidden.subarray(0, into.length));
      return none;
    }
    if (batch.outputs.length === 0) {
      await this.#compute(batch, hidden, 'nothing');
      return none;
    }
    if (isGreedy(batch.sampling)) {
      await this.#compute(batch, hidden, 'tokens');
      return Int32Array.from(this.steps.chosen.subarray(0, batch.outputs.length), Number);
    }
    await this.#compute(batch, hidden, 'logits');
    return sampleBatch(batch, this.steps.logits(batch.outputs.length), this.limits.vocabulary);
  }

  async logits(batch: Batch, hidden: Float32Array): Promise<Float32Array> {
    if (!this.shard.head) throw new EngineError('this shard has no head');
    await this.#compute(batch, hidden, 'logits');
    return this.steps.logits(batch.outputs.length).slice();
  }

  abort(): void {
    this.#running?.abort();
  }

  dispose(): void {
    this.#masked?.then((steps) => steps[Symbol.dispose]()).catch(() => undefined);
    this.causal[Symbol.dispose]();
    this.kv[Symbol.dispose]();
    this.causal.session[Symbol.dispose]();
  }

  async #compute(batch: Batch, hidden: Float32Array, wanted: Wanted): Promise<void> {
    checkBatch(batch, this.limits);
    this.#checkCalibrated(batch);
    const { shard, weights } = this.parts;
    const into = rowsOf(this.steps.hidden, batch, this.hiddenSize);
    if (shard.embedding) weights.embedding.lookUp(batch.tokens, into);
    else into.set(rowsOf(hidden, batch, this.hiddenSize));
    const start = this.#plainStart(batch);
    const steps = start === undefined ? await this.#maskedSteps() : this.causal;
    await this.context.turns.take(async () => {
      this.#running = steps.session;
      await (
        steps instanceof CausalSteps
          ? steps.compute(batch, start as number, wanted)
          : steps.compute(batch, wanted)
      ).finally(() => (this.#running = undefined));
    });
  }

  /** @throws EngineError when keys and values could not be kept */
  #checkCalibrated(batch: Batch): void {
    if (this.kvType !== 'int8') return;
    if (batch.calibratesKv && causalStart(batch) !== batch.cells[0])
      throw new EngineError(
        'a step that calibrates keys and values must be the beginning of a text',
      );
    this.#isCalibrated ||= batch.calibratesKv ?? false;
    if (!this.#isCalibrated)
      throw new EngineError('keys and values of 8 bits need a step that calibrates them first');
  }

  /** The first cell that a batch sees, if it is plain text whose cells can be bound. */
  #plainStart(batch: Batch): number | undefined {
    const start = causalStart(batch);
    if (start === undefined) return undefined;
    return this.kv.holds(start, batch.cells.at(-1) as number) ? start : undefined;
  }

  #maskedSteps(): Promise<MaskedSteps> {
    return (this.#masked ??= this.#openMasked());
  }

  /** @throws EngineError when keys and values are out of reach */
  async #openMasked(): Promise<MaskedSteps> {
    const { context, parts, kv, kvType } = this;
    if (!(kv instanceof HostKvMemory))
      throw new EngineError(
        `${context.provider.name} computes plain text only, each conversation in its own cells: use --provider cpu`,
      );
    const model = buildShardModel(parts, { kind: 'masked', storage: kvType });
    const session = await Session.open(context, model, parts.weights.folder);
    return new MaskedSteps(session, this.steps, kv.cache);
  }
}
