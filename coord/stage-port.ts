import type { SegmentId } from '../stage/wanted-segments.js';
import type { StageMemory, StageSizes, StoredKvType } from '../engine/engine.js';
import type { KeyedPage } from '../step/pages.js';
import type { NextStage } from '../stage/outgoing-link.js';
import type { StageReport } from '../transport/messages/messages.js';
import type { AgreedCodec } from '../transport/protocol/agree-on-codec.js';
import type { TraceEvent } from '../transport/protocol/tracer.js';
import type { SegmentResult, Step } from '../step/step.js';
import type { CoordinatorError } from './errors.js';

/** A stage as its neighbour reaches it. */
export type StageAddress = Pick<NextStage, 'host' | 'port' | 'stage'>;

/** What became of loading. */
export interface LoadedStage {
  readonly memory: StageMemory;
  /** What it keeps keys and values in; undefined for a stage without layers. */
  readonly kvType: StoredKvType | undefined;
  /** Whether its cells can be moved, if it has any. */
  readonly movesPages: boolean;
}

export interface LoadRequest extends StageSizes {
  readonly onProgress: (loadedBytes: number, totalBytes: number) => void;
  /** Gives up: what was loaded is freed. */
  readonly signal: AbortSignal;
}

/** What stages tell while they compute. */
export interface StagePortEvents {
  onResult(step: Pick<Step, 'id' | 'epoch'>, results: readonly SegmentResult[]): void;
  onStepFailed(step: Pick<Step, 'id' | 'epoch'>, error: CoordinatorError): void;
  /** The link to the next stage ended on its own: that stage, or the way to it, is gone. */
  onLinkLost(from: StagePort, why: string): void;
}

/** A stage as the coordinator sees it, in its own process or in a worker. */
export interface StagePort {
  /** `coordinator`, or the worker's address. */
  readonly name: string;
  /** Where the stage before it reaches it; undefined for one that is always the first. */
  readonly address: StageAddress | undefined;
  /** Resolves with the reason when the stage is gone by itself; never rejects. */
  readonly lost: Promise<CoordinatorError>;
  /** Machine, engine, device, threads and versions: what the costs of a shard depend on. */
  readonly computer: string;
  /** Engine, device and versions: what the bits that it computes depend on. */
  readonly arithmetic: string;
  /** @throws ModelError, EngineError, TransportError, CoordinatorError 'worker-refused', 'worker-lost', 'cancelled' */
  load(request: LoadRequest): Promise<LoadedStage>;
  /**
   * Makes it part of the route of an epoch: steps of older ones are dropped.
   * @param next without one, it is the last stage
   * @returns how hidden states travel to the next one
   * @throws TransportError, CoordinatorError 'worker-refused', 'worker-lost'
   */
  link(epoch: number, next?: NextStage): Promise<AgreedCodec | undefined>;
  /** Of the first stage of a route: computes a step, or passes it on. @returns a promise when it may have to wait */
  submit(step: Step): Promise<void> | void;
  cancel(segments: readonly SegmentId[]): void;
  /** How many leading ones of some pages are in its files, to all appearances. @throws CoordinatorError 'worker-lost' */
  knownPages(keys: readonly string[]): Promise<number>;
  /**
   * Reads pages from its files into cells that nobody uses.
   * @returns how many leading ones are as they were kept; of the others, cells may hold anything
   * @throws CoordinatorError 'worker-lost'
   */
  restorePages(epoch: number, pages: readonly KeyedPage[]): Promise<number>;
  /** @throws CoordinatorError 'worker-lost' */
  report(reset: boolean): Promise<StageReport>;
  /**
   * Bytes per second that its threads read from memory, measured once; 0 where it computes from other memory, such as a
   * GPU's. Better not while steps are under way.
   * @throws CoordinatorError 'worker-lost'
   */
  bandwidth(): Promise<number>;
  startTrace(): void;
  /** What it did since `startTrace`, by this machine's clock. @throws CoordinatorError 'worker-lost' */
  stopTrace(): Promise<TraceEvent[]>;
  /** Frees the stage, and whatever is kept for it alone. Idempotent. */
  close(reason: string): Promise<void>;
}
