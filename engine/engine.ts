import type { Shard } from '../model/shard.js';
import type { TensorSource } from '../model/tensor-source.js';

/** How the KV cache stores keys and values. */
export type KvType = 'f16' | 'q8_0' | 'q4_0';
export const kvTypes: readonly KvType[] = ['f16', 'q8_0', 'q4_0'];

/** What a stage really keeps them in: `int8` needs a batch that calibrates it first. */
export type StoredKvType = KvType | 'f32' | 'int8';

/** Which of this machine's processors computes; `auto` takes the best there is. */
export type DeviceKind = 'auto' | 'cpu' | 'metal' | 'cuda' | 'vulkan';
export const deviceKinds: readonly DeviceKind[] = ['auto', 'cpu', 'metal', 'cuda', 'vulkan'];

/** The engines that there are; the first is the default. */
export type EngineName = 'ggml' | 'onnx';
export const engineNames: readonly EngineName[] = ['ggml', 'onnx'];

/** How token ids are chosen from logits. Greedy when `temperature` is 0. */
export interface Sampling {
  readonly temperature: number;
  /** Keep the k likeliest; 0 keeps all. */
  readonly topK: number;
  /** Keep the likeliest whose probabilities add up to p; 1 keeps all. */
  readonly topP: number;
  /** Keep those at least this share as likely as the likeliest; 0 keeps all. */
  readonly minP: number;
  /** Divides (or multiplies, when negative) the logits of recent tokens; 1 changes nothing. */
  readonly repetitionPenalty: number;
  /** 32 bits. The same seed gives the same choice at the same position, on every stage and split. */
  readonly seed: number;
}

export const greedy: Sampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  seed: 0,
};

/**
 * What a stage computes in one step: n tokens of one sequence. The coordinator decides everything in it; equal
 * batches on equal weights give equal results, whatever the split.
 */
export interface Batch {
  /** [n] token ids. */
  readonly tokens: Int32Array;
  /** [n] positions in the sequence, for rotary embedding and for sampling noise. */
  readonly positions: Int32Array;
  /** [n] KV cells that receive these tokens' keys and values. */
  readonly cells: Int32Array;
  /** Attention looks at cells [windowStart, windowStart + windowLength) and nowhere else. */
  readonly windowStart: number;
  readonly windowLength: number;
  /**
   * [n] how many entries of `visible` belong to each token. A token sees the cells of its ranges: causal text needs
   * one range per token, a tree of drafts one for the prefix and some for its ancestors.
   */
  readonly visibleCounts: Int32Array;
  /** Pairs [from, to) of cells, absolute, within the window; the tokens' ranges one after the other. */
  readonly visible: Int32Array;
  /** Rows (indices into `tokens`, ascending) for which the head chooses the next token. */
  readonly outputs: Int32Array;
  readonly sampling: Sampling;
  /** Tokens before this batch that the repetition penalty may look at; empty when it is off. */
  readonly recentTokens: Int32Array;
  /**
   * Stages that keep keys and values as whole numbers choose scales for them that this batch's fit, and those of earlier
   * batches of the kind. It must be the beginning of a text, and what it
   * leaves in the cells is of no use.
   */
  readonly calibratesKv?: boolean;
}

/** What a stage needs to know before it loads. */
export interface StageOptions {
  readonly source: TensorSource;
  readonly shard: Shard;
  /** Number of KV cells. */
  readonly cells: number;
  /** Conversations that share them in equal parts, one after the other; default 1. */
  readonly conversations?: number;
  /** An engine may keep keys and values in what is as good and takes as little memory; otherwise it refuses. */
  readonly kvType: KvType;
  /** Most tokens in one batch. */
  readonly maxBatchTokens: number;
  /** Called as weights arrive in their buffers. */
  readonly onProgress?: (loadedBytes: number, totalBytes: number) => void;
}

/** Memory that a stage takes, in bytes; `estimate` says it before loading, `Stage.memory` after. */
export interface StageMemory {
  readonly weights: number;
  readonly kv: number;
  readonly compute: number;
}

/** A loaded shard. Calls do not overlap: await one before the next. */
export interface Stage {
  readonly shard: Shard;
  readonly hiddenSize: number;
  readonly memory: StageMemory;
  readonly kvType: StoredKvType;
  /**
   * Computes one batch.
   * @param hidden [n, hiddenSize] f32, row-major: the previous stage's output; ignored by a shard with the embedding.
   * @param output without the head: receives [n, hiddenSize] f32. With the head: untouched.
   * @returns with the head: the chosen token id for every row of `batch.outputs`; otherwise an empty array.
   * @throws EngineError when the backend fails.
   */
  forward(batch: Batch, hidden: Float32Array, output: Float32Array): Promise<Int32Array>;
  /**
   * Like `forward` for a shard with the head, but gives the logits: [outputs, vocabulary] f32, row-major.
   * For measuring quality; logits never travel on a link.
   */
  logits(batch: Batch, hidden: Float32Array): Promise<Float32Array>;
  /** Gives up the batch that is being computed, where that is possible: its promise then rejects with EngineError. */
  abort?(): void;
  dispose(): void;
}

/** One processor that an engine can use. */
export interface Device {
  readonly name: string;
  readonly description: string;
  readonly kind: Exclude<DeviceKind, 'auto'> | 'webgpu' | 'coreml' | 'dml';
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
  estimate(options: Omit<StageOptions, 'onProgress'>): StageMemory;
  load(options: StageOptions): Promise<Stage>;
}

/** A stage cannot be loaded or computed. The message is one line that names the cause and the remedy. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
}
