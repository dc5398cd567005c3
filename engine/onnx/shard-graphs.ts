import type { Segment } from '../../step/step.js';
import { EngineError } from '../engine.js';
import { Resources } from '../resources.js';
import type { AttentionForm } from './graph/attention-form.js';
import { rowsOfLoneToken } from './graph/lone-token-attention.js';
import type { ShardParts } from './graph/shard-graph.js';
import { DeviceKv } from './kv/device-kv.js';
import { HostKv } from './kv/host-kv.js';
import { kvHeadsOf, type KvMemory } from './kv/kv-memory.js';
import type { KvStorage } from './kv/kv-type.js';
import type { Session, SessionOptions } from './runtime/session.js';
import { ShardSessions } from './shard-sessions.js';
import { CausalGraph } from './steps/causal-graph.js';
import { MaskedGraph } from './steps/masked-graph.js';
import type { CutRows } from './steps/parts.js';
import type { Run } from './steps/runs.js';
import type { StepBuffers } from './steps/step-buffers.js';

/** Segments that are computed at once, at most; places that stay empty cost next to nothing. */
const crowdPlaces = 8;

/** What tells the graphs apart. */
type GraphKind = Pick<AttentionForm, 'places' | 'isMasked' | 'isInParts'>;

const singleKind: GraphKind = { places: 1, isMasked: false, isInParts: false };
const crowdKind: GraphKind = { places: crowdPlaces, isMasked: false, isInParts: false };
const maskedKind: GraphKind = { places: 1, isMasked: true, isInParts: false };
const inPartsKinds: Record<KvStorage, GraphKind> = {
  f32: { places: 2, isMasked: false, isInParts: true },
  // Before, in and behind blocks.
  int8: { places: 3, isMasked: false, isInParts: true },
};

/** What the graphs of a shard have in common. */
export interface GraphPlan {
  readonly options: SessionOptions;
  readonly parts: ShardParts;
  readonly buffers: StepBuffers;
  readonly storage: KvStorage;
  /** KV cells, in equal parts for conversations where the provider keeps them in memory of its own. */
  readonly cells: number;
  readonly conversations: number;
  /** The least rows that steps are computed with. */
  readonly leastRows: number;
  /** Where segments are cut into parts, if ever. */
  readonly cut: CutRows | undefined;
}

/** The graphs of a shard, over the same weights and cells. */
export class ShardGraphs implements AsyncDisposable {
  #crowd: CausalGraph | undefined;
  #inParts: CausalGraph | undefined;
  #masked: MaskedGraph | undefined;

  private constructor(
    private readonly plan: GraphPlan,
    private readonly sessions: ShardSessions,
    private readonly resources: Resources,
    readonly kv: KvMemory,
    private readonly single: CausalGraph,
  ) {}

  /** Opens the graphs that are certain to be needed. @throws EngineError, the signal's reason */
  static async open(plan: GraphPlan, signal?: AbortSignal): Promise<ShardGraphs> {
    const { parts, buffers } = plan;
    const sessions = new ShardSessions(plan.options, parts);
    const resources = new Resources();
    try {
      const form = formOf(plan, singleKind);
      const session = await sessions.open(form, signal);
      const kv = resources.take(await newKv(plan, session, signal));
      const single = resources.take(new CausalGraph(session, form, parts.sizes, buffers, kv));
      const graphs = new ShardGraphs(plan, sessions, resources, kv, single);
      // Weights a second time would cost more than computing segments one after the other.
      if (!sessions.isSharing) return graphs;
      if (plan.conversations > 1) graphs.#crowd = await graphs.#openCausal(crowdKind, signal);
      // Nearly every prompt has blocks; f32 is hardly ever cut.
      if (plan.storage === 'int8') await graphs.#openInParts(signal);
      return graphs;
    } catch (error) {
      resources[Symbol.dispose]();
      await sessions[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Segments of one run, at most. */
  get mostSegments(): number {
    return this.#crowd ? crowdPlaces : 1;
  }

  /** The parts that a segment is cut into. @param start of its window; undefined when it is not cut */
  partsOf({ cells }: Segment, start: number): readonly number[] | undefined {
    // Weights a second time would cost too much.
    if (!this.sessions.isSharing) return undefined;
    return this.plan.cut?.((cells[0] as number) - start, cells.length);
  }

  /** The graph that computes a run. @throws EngineError 'unsupported' when the provider cannot */
  async graphFor({ segments, starts, parts }: Run): Promise<CausalGraph | MaskedGraph> {
    if (!starts) return (this.#masked ??= await this.#openMasked());
    if (parts) return this.#inParts ?? this.#openInParts();
    return segments.length > 1 && this.#crowd ? this.#crowd : this.single;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resources[Symbol.dispose]();
    await this.sessions[Symbol.asyncDispose]();
  }

  async #openCausal(kind: GraphKind, signal: AbortSignal | undefined): Promise<CausalGraph> {
    const { parts, buffers } = this.plan;
    const form = formOf(this.plan, kind);
    const session = await this.sessions.open(form, signal);
    return this.resources.take(new CausalGraph(session, form, parts.sizes, buffers, this.kv));
  }

  async #openInParts(signal?: AbortSignal): Promise<CausalGraph> {
    return (this.#inParts = await this.#openCausal(inPartsKinds[this.plan.storage], signal));
  }

  async #openMasked(): Promise<MaskedGraph> {
    const { plan, kv } = this;
    if (!(kv instanceof HostKv))
      throw new EngineError(
        'unsupported',
        `${plan.options.provider.name} computes plain text only, each conversation in its own cells: use --provider cpu`,
      );
    const form = formOf(plan, maskedKind);
    const session = await this.sessions.open(form);
    return new MaskedGraph(session, form, plan.parts.sizes, plan.buffers, kv);
  }
}

function formOf({ options, storage, leastRows }: GraphPlan, kind: GraphKind): AttentionForm {
  // Devices have kernels of their own, of which none is known to round like another.
  const isCpu = options.provider.kind === 'cpu';
  return {
    ...kind,
    storage,
    spreadsLoneTokens: isCpu && storage === 'f32' && !kind.isMasked && !kind.isInParts,
    // Steps of several segments have more rows than one.
    doublesLoneRow: leastRows > 1 && kind.places === 1,
  };
}

/** @throws EngineError 'memory', the signal's reason */
async function newKv(
  plan: GraphPlan,
  session: Session,
  signal: AbortSignal | undefined,
): Promise<KvMemory> {
  const { parts, storage, cells, conversations } = plan;
  const heads = kvHeadsOf(parts.sizes, parts.shard);
  const { memoryName } = session.provider;
  if (memoryName !== undefined)
    return new DeviceKv(session, memoryName, heads, cells, conversations);
  const { spreadsLoneTokens } = formOf(plan, singleKind);
  // A token that is alone takes cells behind its own along.
  const extraCells = spreadsLoneTokens ? rowsOfLoneToken(parts.sizes) - 1 : 0;
  return HostKv.allocate(heads, cells + extraCells, storage, signal);
}
