import { checkModel } from '../../model/architectures/check-model.js';
import { headMatrix } from '../../model/shard-tensors.js';
import { uniformSizes } from './uniform-sizes.js';
import type { Shard } from '../../step/shard.js';
import { pageCells } from '../../step/pages.js';
import type { Segment, SegmentResult, Step } from '../../step/step.js';
import { checkStep, hiddenOf, stepLimits, type StepLimits } from '../check-step.js';
import {
  EngineError,
  type Stage,
  type StageMemory,
  type StageOptions,
  type StagePages,
} from '../engine.js';
import { headDemand, segmentResults, type HeadDemand } from '../sampling/step-results.js';
import { checkedPages } from '../checked-pages.js';
import { StageLifetime } from '../stage-lifetime.js';
import type { ShardParts } from './graph/shard-graph.js';
import { HostKv } from './kv/host-kv.js';
import { HostPages } from './kv/host-pages.js';
import { storageFor, type KvStorage } from './kv/kv-type.js';
import { leastProductRows } from './product-rows.js';
import { queryTile } from './query-tile.js';
import type { SessionOptions } from './runtime/session.js';
import { ShardGraphs } from './shard-graphs.js';
import { AbortableRuns } from './steps/abortable-runs.js';
import { causalStart } from './steps/causal-range.js';
import { cutAroundBlocks, cutLoneRows, type CutRows } from './steps/parts.js';
import { RopeTable } from './steps/rope-table.js';
import { runsOf, type Run } from './steps/runs.js';
import { StepBuffers } from './steps/step-buffers.js';
import type { MatrixCache } from './weights/matrix-cache.js';
import { ShardWeights } from './weights/shard-weights.js';

/** What stages of an engine share. */
export interface OnnxContext extends SessionOptions {
  readonly matrices: MatrixCache;
  /** Whether types that cannot be computed with exactly may become 8 bits. */
  readonly requantize: boolean;
}

/** A shard loaded into ONNX Runtime sessions. */
export class OnnxStage implements Stage {
  readonly pages?: StagePages;
  readonly #movable: HostPages | undefined;
  readonly #lifetime: StageLifetime;
  readonly #runs = new AbortableRuns();
  #isCalibrated = false;

  private constructor(
    private readonly parts: ShardParts,
    private readonly limits: StepLimits,
    private readonly buffers: StepBuffers,
    private readonly graphs: ShardGraphs,
    readonly kvType: KvStorage,
  ) {
    this.#lifetime = new StageLifetime(() => void graphs[Symbol.asyncDispose]());
    if (limits.movesPages && graphs.kv instanceof HostKv) {
      this.#movable = new HostPages(graphs.kv);
      this.pages = checkedPages(this.#movable, limits, this.#lifetime);
    }
  }

  /** Loads weights and allocates all memory. @throws ModelError, EngineError, the signal's reason */
  static async load(context: OnnxContext, options: StageOptions): Promise<OnnxStage> {
    const { source, shard, cells, conversations = 1, maxStepRows, signal } = options;
    const model = checkModel(source, shard);
    const sizes = uniformSizes(model);
    const storage = storageFor(options.kvType, context.provider);
    const headName = headMatrix(source.tensors);
    const isCpu = context.provider.kind === 'cpu';
    const weights = await ShardWeights.load(options, context.matrices, {
      requantize: context.requantize,
      // Devices fuse products in ways of their own.
      joins: isCpu,
    });
    const parts = { decoder: model.decoder, sizes, shard, weights, headName };
    const formats = weights.matrices.map(({ format }) => format);
    const leastRows = isCpu ? await leastProductRows(context, formats) : 1;
    const rope = new RopeTable(sizes.rope, weights.optionalVector(sizes.rope.factors ?? ''));
    const buffers = new StepBuffers(sizes, shard, rope, maxStepRows, leastRows);
    const cut = isCpu ? await cutFor(context, storage, sizes.headSize) : undefined;
    const graphs = await ShardGraphs.open(
      { options: context, parts, buffers, storage, cells, conversations, leastRows, cut },
      signal,
    );
    const limits = stepLimits(options, sizes.vocabulary, {
      movesPages: graphs.kv instanceof HostKv && options.cells >= pageCells,
    });
    return new OnnxStage(parts, limits, buffers, graphs, storage);
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
      kv: this.graphs.kv.bytes,
      compute: this.buffers.bytes,
    };
  }

  forward(
    step: Step,
    hidden: Float32Array,
    output: Float32Array,
  ): Promise<readonly SegmentResult[]> {
    const { buffers, hiddenSize } = this;
    return this.#compute(step, hidden, headDemand, ({ segments, firstRow, endRow }) => {
      if (this.shard.head) return segmentResults({ segments }, buffers);
      const rows = buffers.nextHidden(endRow - firstRow);
      hiddenOf(output, step, hiddenSize).set(rows, firstRow * hiddenSize);
      return [];
    });
  }

  async logits(step: Step, hidden: Float32Array): Promise<Float32Array> {
    if (!this.shard.head) throw new EngineError('step', 'this shard has no head');
    const { vocabulary } = this.parts.sizes;
    const logits = new Float32Array(headDemand(step).rows.length * vocabulary);
    let next = 0;
    const demandOf = (run: Run) => ({ ...headDemand(run), likeliest: false, logits: true });
    await this.#compute(step, hidden, demandOf, (run) => {
      const count = headDemand(run).rows.length;
      for (let i = 0; i < count; i++, next++) logits.set(this.buffers.logits(i), next * vocabulary);
      return [];
    });
    return logits;
  }

  abort(): void {
    if (this.#lifetime.isComputing) this.#runs.abort();
  }

  dispose(): void {
    this.#lifetime.close();
  }

  /**
   * Computes a step, run by run.
   * @param demandOf what is asked of the head for a run
   * @param take is called with every run while its results are in the buffers
   * @returns what `take` gave, one after the other
   */
  #compute<Result>(
    step: Step,
    hidden: Float32Array,
    demandOf: (run: Run) => HeadDemand,
    take: (run: Run) => readonly Result[],
  ): Promise<readonly Result[]> {
    return this.#lifetime.compute(async () => {
      checkStep(step, this.limits);
      this.#checkCalibrated(step);
      this.#runs.begin();
      await this.#movable?.copy(step.copies ?? []);
      const results: Result[] = [];
      for (const run of runsOf(
        step,
        (segment) => this.#startOf(segment),
        (segment, start) => this.graphs.partsOf(segment, start),
        this.graphs.mostSegments,
      )) {
        this.#enter(run, step, hidden);
        const graph = await this.graphs.graphFor(run);
        await graph.compute(run, demandOf(run), this.#runs);
        results.push(...take(run));
      }
      return results;
    });
  }

  /** Fills in the hidden states that a run's rows enter the shard as. */
  #enter({ segments, firstRow, endRow }: Run, step: Step, hidden: Float32Array): void {
    const { weights, shard } = this.parts;
    const { hiddenSize } = this;
    const into = this.buffers.hidden(endRow - firstRow);
    if (!shard.embedding) {
      const all = hiddenOf(hidden, step, hiddenSize);
      into.set(all.subarray(firstRow * hiddenSize, endRow * hiddenSize));
      return;
    }
    let next = 0;
    for (const { tokens } of segments) {
      const end = next + tokens.length * hiddenSize;
      weights.embedding.lookUp(tokens, into.subarray(next, end));
      next = end;
    }
  }

  /** @throws EngineError 'step' when keys and values could not be kept */
  #checkCalibrated({ segments, calibratesKv }: Step): void {
    if (this.kvType !== 'int8') return;
    if (calibratesKv && segments.some((segment) => causalStart(segment) !== segment.cells[0]))
      throw new EngineError(
        'step',
        'a step that calibrates keys and values must be the beginning of a text',
      );
    this.#isCalibrated ||= calibratesKv ?? false;
    if (!this.#isCalibrated)
      throw new EngineError(
        'step',
        'keys and values of 8 bits need a step that calibrates them first',
      );
  }

  /** The first cell that a segment sees, if it is plain text whose cells can be bound. */
  #startOf(segment: Segment): number | undefined {
    const start = causalStart(segment);
    if (start === undefined) return undefined;
    return this.graphs.kv.holds(start, segment.cells.at(-1) as number) ? start : undefined;
  }
}

/** Where segments are cut, so that rows get the same bits however many are computed at once. @throws EngineError */
async function cutFor(
  context: OnnxContext,
  storage: KvStorage,
  headSize: number,
): Promise<CutRows> {
  if (storage === 'int8') return cutAroundBlocks;
  return cutLoneRows(await queryTile(context, headSize));
}
