import type { Engine, StageSizes } from '../engine/engine.js';
import { WorkerError } from './errors.js';

/** @throws WorkerError 'memory' with the figures when a stage would take more than is free now */
export function checkMemory(engine: Engine, sizes: StageSizes): void {
  const { weights, kv, compute } = engine.estimate(sizes);
  const { freeBytes, name } = engine.device;
  if (weights + kv + compute <= freeBytes) return;
  const { firstLayer, endLayer } = sizes.shard;
  throw new WorkerError(
    'memory',
    `not enough memory for layers ${firstLayer} to ${endLayer - 1} on ${name}: they need ${megabytes(weights + kv + compute)} MB (weights ${megabytes(weights)}, KV cache ${megabytes(kv)}, compute ${megabytes(compute)}), ${megabytes(freeBytes)} MB are free: give it fewer layers (--layers) or use a smaller --context`,
  );
}

function megabytes(bytes: number): number {
  return Math.ceil(bytes / 1e6);
}
