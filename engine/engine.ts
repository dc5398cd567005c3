import { DaisychainError } from '../step/errors.js';
import type { Shard } from '../step/shard.js';
import type { SegmentResult, Step } from '../step/step.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { RoutingCounts } from './routing-counts.js';

/** How the KV cache stores keys and values. */
export type KvType = 'f16' | 'q8_0' | 'q4_0';
export const kvTypes: readonly KvType[] = ['f16', 'q8_0', 'q4_0'];

/** What a stage really keeps them in: `int8` needs a step that calibrates it first. */
export type StoredKvType = KvType | 'f32' | 'int8';

/** Which of this machine's processors computes; `auto` takes the best there is. */
export type DeviceKind = 'auto' | 'cpu' | 'metal' | 'cuda' | 'vulkan';
export const deviceKinds: readonly DeviceKind[] = ['auto', 'cpu', 'metal', 'cuda', 'vulkan'];

/** The engines that there are; the first is the default. */
export type EngineName = 'ggml' | 'onnx';
export const engineNames: readonly EngineName[] = ['ggml', 'onnx'];

/** What a stage needs to know before it loads. */
export interface StageOptions {
  readonly source: TensorSource;
  readonly shard: Shard;
  /** Number of KV cells. */
  readonly cells: number;
  /**
   * Conversations that share them in equal parts, one after the other; default 1. Whoever loads must know how many there
   * will be: devices that keep cells in memory of their own have none for more, and an engine may prepare for steps of
   * several segments only where there are several.
   */
  readonly conversations?: number;
  /** States that there is memory for, in layers that keep those instead of cells; default: one for each conversation. */
  readonly states?: number;
  /** An engine may keep keys and values in what is as good and takes as little memory; otherwise it refuses. */
  readonly kvType: KvType;
  /** Most rows of one step. */
  readonly maxStepRows: number;
  /** Whether to count which experts rows go through; default: no, as it costs a little. */
  readonly countsRoutings?: boolean;
  /** Called as weights arrive in their buffers. */
  readonly onProgress?: (loadedBytes: number, totalBytes: number) => void;
  /** Gives up loading: `load` then frees what it took and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What an estimate of memory needs to know. */
export type StageSizes = Omit<StageOptions, 'onProgress' | 'signal'>;

/** Memory that a stage takes, in bytes; `estimate` says it before loading, `Stage.memory` after. */
export interface StageMemory {
  readonly weights: number;
  readonly kv: number;
  readonly compute: number;
}

/** A step that is computed some layers at a time. */
export interface StepInSlices {
  /**
   * Computes the next layers, or those that are left where there are fewer.
   * @param layers 1 or more
   * @returns what `Stage.forward` returns, once all layers are computed; undefined before
   * @throws EngineError as `Stage.forward`; the step cannot go on then
   */
  compute(layers: number): Promise<readonly SegmentResult[] | undefined>;
}

/** A loaded shard. Calls do not overlap: await one before the next. */
export interface Stage {
  readonly shard: Shard;
  readonly hiddenSize: number;
  readonly memory: StageMemory;
  readonly kvType: StoredKvType;
  /** Which experts rows went through, where that is counted. */
  readonly routings?: RoutingCounts | undefined;
  /**
   * Computes one step.
   * @param hidden [rows, hiddenSize] f32, row-major: the previous stage's output; ignored by a shard with the embedding.
   * @param output without the head: receives [rows, hiddenSize] f32. With the head: untouched.
   * @returns with the head: what every segment wanted, in their order; otherwise an empty array.
   * @throws EngineError 'step' when the step makes no sense here, 'compute' when the backend fails or `abort` was
   * called, 'internal' when the stage is closed or the call before is not done.
   */
  forward(
    step: Step,
    hidden: Float32Array,
    output: Float32Array,
  ): Promise<readonly SegmentResult[]>;
  /**
   * Begins a step of more than `fewRows` rows, which gets the bits that it gets from `forward`. In between `forward` may
   * compute steps of at most `fewRows` rows that have nothing in common with it, and pages of other texts may be moved.
   * @param hidden as of `forward`; it may change when some layers are computed
   * @param output as of `forward`; it is not touched before the last layers are computed
   */
  begin?(step: Step, hidden: Float32Array, output: Float32Array): StepInSlices;
  /**
   * Like `forward` for a shard with the head, but gives the logits: [rows that want a choice, vocabulary] f32, row-major.
   * For measuring quality; logits never travel on a link.
   */
  logits(step: Step, hidden: Float32Array): Promise<Float32Array>;
  /** Absent where cells cannot be moved: then steps have no copies. */
  readonly pages?: StagePages;
  /**
   * Gives up the step that is being computed, where that is possible: its promise then rejects with EngineError
   * 'compute'. When none is, nothing happens, to later steps neither.
   */
  abort?(): void;
  /**
   * Frees everything, when the step that is being computed is done. May be called again; other calls then throw
   * EngineError 'internal'.
   */
  dispose(): void;
}

/** A stage's keys and values, page by page. Calls do not overlap with each other, nor with `forward`. */
export interface StagePages {
  /** Bytes of a page, of all layers. */
  readonly bytes: number;
  /**
   * The keys and values of a page, in a form that equal stages of one engine and version share.
   * @returns [bytes]
   * @throws EngineError as `forward`
   */
  read(page: number): Promise<Uint8Array>;
  /** @param content as `read` gives it @throws EngineError as `forward` */
  write(page: number, content: Uint8Array): Promise<void>;
}

/** One processor that an engine can use. */
export interface Device {
  readonly name: string;
  readonly description: string;
  readonly kind: Exclude<DeviceKind, 'auto'> | 'webgpu' | 'coreml' | 'dml';
  /** Measured when it is read: memory that stages may still take, in bytes. */
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Buffer types that weights can be put in, the preferred first. */
  readonly bufferTypes: readonly string[];
}

/** A way to compute stages. */
export interface Engine {
  readonly name: EngineName;
  /** Library versions, for reports. */
  readonly versions: Readonly<Record<string, string>>;
  /** The device that stages are loaded on. */
  readonly device: Device;
  readonly threads: number;
  devices(): readonly Device[];
  /** Memory that a stage would take. */
  estimate(sizes: StageSizes): StageMemory;
  load(options: StageOptions): Promise<Stage>;
}

/** Why a stage cannot be loaded or computed. */
export type EngineErrorCode =
  /** The model, or its types, are not for this engine or device. */
  | 'unsupported'
  /** The device or its driver is not there, or refuses. */
  | 'device'
  /** There is not enough memory. */
  | 'memory'
  /** A step that makes no sense on this stage. */
  | 'step'
  /** The backend failed, or was told to give up. */
  | 'compute'
  /** A stage that is closed was used, or a library is not as expected. */
  | 'internal';

/** The message is one line that names the cause and the remedy. */
export class EngineError extends DaisychainError<EngineErrorCode> {
  override readonly name = 'EngineError';
}
