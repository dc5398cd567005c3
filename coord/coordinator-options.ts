import type { Logger } from 'pino';
import type { Engine, KvType } from '../engine/engine.js';
import { keepsStates } from '../model/architectures/layer.js';
import { readModel } from '../model/architectures/model.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Turns } from '../stage/turns.js';
import type { ChannelChoices, ChannelOptions } from '../transport/protocol/open-channel.js';
import type { CodecChoice } from '../transport/wire/codecs/codec.js';
import type { ClusterSecret } from '../transport/wire/security.js';
import { CoordinatorError } from './errors.js';
import type { Plan } from './plan.js';
import type { WorkerAddress } from './remote-worker.js';
import { plainSlots } from './sequence-states.js';
import type { SpeculationOptions } from './speculator.js';

export interface CoordinatorOptions {
  /** In pipeline order. */
  readonly workers: readonly WorkerAddress[];
  readonly softwareVersion: string;
  /** Encrypts all links and proves both sides to each other. */
  readonly secret?: ClusterSecret;
  readonly source: TensorSource;
  readonly engine: Engine;
  /** Of the engine's device, which the draft model may share. */
  readonly turns: Turns;
  /** Layers per stage, the coordinator's first; without it, in proportion to free memory. */
  readonly layers?: readonly number[];
  /** Tokens that a text may have; default: as many as the model was trained for, as far as there is memory. */
  readonly context?: number;
  /** Texts of that length that there are cells for; default 1. There may be more conversations whose texts are shorter. */
  readonly conversations?: number;
  readonly kvType: KvType;
  /** Token ids of a text as people write them; asked for when keys and values have to be calibrated. */
  readonly calibrationText: () => Int32Array;
  /** How hidden states travel: one choice for all links, or one per link in pipeline order. */
  readonly codec: CodecChoice | readonly CodecChoice[];
  /** What tensors travel by; default: RDMA where both ends have it. */
  readonly channel?: ChannelChoices;
  /** Most tokens in one step of a prompt; longer prompts are cut smaller where that is faster. */
  readonly chunkTokens: number;
  /** Drafts tokens, so that several can be in the pipeline at once. Asked for when the stages are loaded. */
  readonly speculation?: () => Promise<SpeculationOptions | undefined>;
  /** Whether to measure what steps cost when stages are loaded, also where no drafts are planned by it. */
  readonly measuresCosts?: boolean;
  /** Whether stages count which experts rows go through, for their reports. */
  readonly countsRoutings?: boolean;
  /** Memory of the coordinator's device that the plan leaves to others, such as a draft model. */
  readonly reservedBytes?: number;
  /** Where hashes of tensors, measured costs, and pages' keys and values are kept. */
  readonly cacheDirectory: string;
  /** Bytes of pages' keys and values to keep on disk; see `PageStore`. */
  readonly kvDisk?: number | undefined;
  /** What becomes of answers when a worker is lost: they fail (default), or wait until its stage is moved. */
  readonly onLostWorker?: 'fail' | 'wait';
  readonly logger: Logger;
  /** `stage` is `coordinator` or a worker's address. */
  readonly onProgress?: (event: { stage: string; loadedBytes: number; totalBytes: number }) => void;
  /** Told before anything is loaded. */
  readonly onPlan?: (plan: Plan) => void;
  readonly onCalibration?: (tokens: number, totalTokens: number) => void;
}

/** Further slots for the states of steps whose guesses are not certain. */
const draftSlots = 4;

/** Slots that every conversation gets for states, in models whose layers keep those; 0 in others. @throws ModelError */
export function slotsEach({ source, speculation }: CoordinatorOptions): number {
  if (!keepsStates(readModel(source).layers)) return 0;
  return plainSlots + (speculation ? draftSlots : 0);
}

/** What is asked for on a link. @param link counted from the coordinator's own */
export function codecOf({ codec }: CoordinatorOptions, link: number): CodecChoice {
  return typeof codec === 'string' ? codec : (codec[link] ?? 'auto');
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
