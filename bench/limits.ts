import { readModel } from '../model/architectures/model.js';
import { activeShare } from '../model/architectures/totals.js';
import { embeddingTensor, hasTiedHead, tensorsOfShard } from '../model/shard-tensors.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Shard } from '../step/shard.js';
import type { StageMemory } from '../engine/engine.js';

/** What a stage reads from memory for a decode step, in bytes. */
export interface BytesRead {
  readonly weights: number;
  /** Keys and values of the text so far. */
  readonly kv: number;
}

/** What keeps a stage from being faster. */
export type Bound =
  /** Computing, which reads memory slower than it could be read. */
  | 'compute'
  /** Memory is read about as fast as it can be. */
  | 'memory'
  /** Steps are on their way: codec, network, wake-ups. */
  | 'link'
  /** Other stages compute, and this one has nothing to do. */
  | 'waiting';

/** How near a stage is to what its machine can do. */
export interface StageLimit extends BytesRead {
  /** Of weights, keys and values while it computes. */
  readonly bytesPerSecond: number;
  /** What the same threads read from memory when they do nothing else; 0 where that is not known. */
  readonly memoryBytesPerSecond: number;
  readonly bound: Bound;
}

/** Milliseconds of a decode step of one stage. */
export interface StepTimes {
  readonly computeMs: number;
  /** Nothing to compute. */
  readonly waitMs: number;
  /** Encoding and sending; decoding is done while it waits. */
  readonly linkMs: number;
  /** What all other stages compute of a step. */
  readonly othersMs: number;
}

/** Whoever reads this share of what memory gives is bound by memory: products leave some of it even at their best. */
const nearlyAll = 0.75;

/** A stage that computes for less of a step than this has time to spare. */
const busyShare = 2 / 3;

/**
 * What a stage reads for a step of one row: all weights once, but of experts those that a row goes through, and of the
 * embedding one row, unless it is the head's matrix too; and the cells of the text.
 * @param source as the model file has the weights, which engines keep in as many bytes
 * @param memory of the stage @param cells that its `kv` bytes are for
 * @param textTokens tokens of the text that the step continues
 */
export function bytesRead(
  source: Pick<TensorSource, 'metadata' | 'tensors'>,
  shard: Shard,
  memory: Pick<StageMemory, 'kv'>,
  cells: number,
  textTokens: number,
): BytesRead {
  const { tensors } = source;
  const { layers } = readModel(source);
  const isLookedUp = (name: string) => name === embeddingTensor && !hasTiedHead(tensors, shard);
  const weights = tensorsOfShard(tensors, shard)
    .filter(({ name }) => !isLookedUp(name))
    .reduce((sum, { name, bytes }) => sum + bytes * activeShare(name, layers), 0);
  return { weights, kv: (memory.kv / cells) * textTokens };
}

/**
 * What bounds a stage.
 * @param read in a step @param memoryBytesPerSecond 0 where it is not known
 */
export function stageLimit(
  read: BytesRead,
  memoryBytesPerSecond: number,
  times: StepTimes,
): StageLimit {
  const { computeMs } = times;
  const bytesPerSecond = computeMs > 0 ? ((read.weights + read.kv) * 1000) / computeMs : 0;
  const isNearMemory =
    memoryBytesPerSecond > 0 && bytesPerSecond >= nearlyAll * memoryBytesPerSecond;
  const bound = boundOutside(times) ?? (isNearMemory ? 'memory' : 'compute');
  return { ...read, bytesPerSecond, memoryBytesPerSecond, bound };
}

/** What leaves a stage time to spare, if it has any. */
function boundOutside({ computeMs, waitMs, linkMs, othersMs }: StepTimes): Bound | undefined {
  if (computeMs >= busyShare * (computeMs + waitMs + linkMs)) return undefined;
  // While others compute, a step is not on its way.
  const onItsWay = linkMs + Math.max(0, waitMs - othersMs);
  return onItsWay > othersMs ? 'link' : 'waiting';
}
