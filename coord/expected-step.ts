import { headTensor, isOfShard } from '../model/shard-tensors.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Shard } from '../step/shard.js';
import type { ExpectedStep } from '../transport/protocol/choose-codec.js';

/** A shard, and what computes it. */
export interface PlacedShard {
  readonly shard: Shard;
  /** As engines name it. */
  readonly device: string;
  readonly threads: number;
}

/**
 * What devices read per millisecond, in bytes: a core of a CPU, all its cores, and GPUs that people have. In a decode
 * step every weight is read once.
 */
const coreBytesPerMs = 20e6;
const cpuBytesPerMs = 80e6;
const gpuBytesPerMs = 400e6;

/** By how much a row of a long prompt is cheaper than a decode step, whose weights are read for one row alone. */
const cpuRowsPerStep = 4;
const gpuRowsPerStep = 32;

/**
 * What steps will take, roughly: by what has to be read and computed, not by a clock, so that it is the same whenever a
 * model is loaded on the same machines.
 */
export function expectedStep(source: TensorSource, stages: readonly PlacedShard[]): ExpectedStep {
  const costs = stages.map(({ shard, device, threads }) => {
    const isCpu = /cpu/i.test(device);
    const bytesPerMs = isCpu ? Math.min(threads * coreBytesPerMs, cpuBytesPerMs) : gpuBytesPerMs;
    const decodeMs = bytesRead(source, shard) / bytesPerMs;
    return { decodeMs, promptRowMs: decodeMs / (isCpu ? cpuRowsPerStep : gpuRowsPerStep) };
  });
  return {
    decodeMs: costs.reduce((sum, { decodeMs }) => sum + decodeMs, 0),
    promptRowMs: Math.max(...costs.map(({ promptRowMs }) => promptRowMs)),
  };
}

/** Of the embedding's table only a row is read. */
function bytesRead({ tensors }: TensorSource, shard: Shard): number {
  const head = headTensor(tensors);
  let bytes = 0;
  for (const tensor of tensors.values())
    if (isOfShard(tensor.name, { ...shard, embedding: false }, head)) bytes += tensor.bytes;
  return bytes;
}
