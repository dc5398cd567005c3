import { createHash } from 'node:crypto';
import type { Engine, Stage, StageOptions } from '../../engine/engine.js';

/**
 * All that the bytes of a stage's pages depend on besides their texts: layers, how the engine computes and keeps them,
 * and on what.
 * @returns 64 hex digits
 */
export function pageIdentity(
  { name, versions, device }: Engine,
  { source: { fingerprint } }: Pick<StageOptions, 'source'>,
  { shard, kvType, pages }: Pick<Stage, 'shard' | 'kvType' | 'pages'>,
): string {
  const { firstLayer, endLayer } = shard;
  const computed = [name, versions, device.description];
  const kept = [firstLayer, endLayer, kvType, pages?.bytes];
  return createHash('sha256')
    .update(JSON.stringify([fingerprint, computed, kept]))
    .digest('hex');
}
