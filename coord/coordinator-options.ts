import type { Logger } from 'pino';
import type { Engine, KvType } from '../engine/engine.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { CodecName } from '../transport/codecs/codec.js';
import type { ChannelChoices, ChannelOptions } from '../transport/open-channel.js';
import { CoordinatorError } from './errors.js';
import type { SpeculationOptions } from './speculator.js';
import type { ConnectOptions } from './workers.js';

export interface CoordinatorOptions extends ConnectOptions {
  readonly source: TensorSource;
  readonly engine: Engine;
  /** Layers per stage, the coordinator's first; without it, in proportion to free memory. */
  readonly layers?: readonly number[];
  /** KV cells of one conversation. */
  readonly context: number;
  /** Conversations that may be held at once; default 1. */
  readonly conversations?: number;
  readonly kvType: KvType;
  /** Token ids of a text as people write them; asked for when keys and values have to be calibrated. */
  readonly calibrationText: () => Int32Array;
  /** How hidden states travel: one for all links, or one per link in pipeline order. */
  readonly codec: CodecName | readonly CodecName[];
  /** What tensors travel by; default: RDMA where both ends have it. */
  readonly channel?: ChannelChoices;
  /** Most tokens in one step of a prompt; longer prompts are cut smaller where that is faster. */
  readonly chunkTokens: number;
  /** Drafts tokens, so that several can be in the pipeline at once. */
  readonly speculation?: SpeculationOptions;
  /** Where hashes of tensors are kept. */
  readonly cacheDirectory: string;
  readonly logger: Logger;
  /** `stage` is `coordinator` or a worker's address. */
  readonly onProgress?: (event: { stage: string; loadedBytes: number; totalBytes: number }) => void;
  readonly onCalibration?: (tokens: number, totalTokens: number) => void;
}

/** The codec of a link. @param link counted from the coordinator's own */
export function codecOf({ codec }: CoordinatorOptions, link: number): CodecName {
  return typeof codec === 'string' ? codec : (codec[link] ?? 'f32');
}

/** What all links travel by, where workers were not started with something else. */
export function channelOf({ channel, logger }: CoordinatorOptions): ChannelOptions {
  return { transport: 'auto', ...channel, logger };
}

/** @throws CoordinatorError 'plan' when there is not one codec for every link */
export function checkCodecs({ codec, workers }: CoordinatorOptions): void {
  if (typeof codec === 'string' || codec.length === workers.length) return;
  throw new CoordinatorError(
    'plan',
    `--codec ${codec.join(',')} is for ${codec.length} links, but there are ${workers.length}: give one for all, or one for each`,
  );
}
