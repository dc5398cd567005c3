import type { UniformSizes } from '../uniform-sizes.js';
import type { Shard } from '../../../step/shard.js';
import { EngineError } from '../../engine.js';
import type { IoBinding } from '../runtime/io-binding.js';

/** Where the keys and values of a stage's layers are kept. */
export interface KvMemory extends Disposable {
  readonly bytes: number;
  /** Whether cells from the first to the last can be bound. */
  holds(first: number, last: number): boolean;
  /**
   * Binds the keys and values of all layers, for every place that a graph has for a segment.
   * @param starts the cell that each place's begin with; undefined for a place that stays empty
   */
  bind(binding: IoBinding, starts: readonly (number | undefined)[]): void;
}

/** @param cause where there is one to tell */
export function outOfKvMemory(cause: unknown): EngineError {
  const reason = cause instanceof EngineError ? ` (${cause.message})` : '';
  return new EngineError(
    'memory',
    `not enough memory for the KV cache${reason}: give this stage fewer layers (--layers) or a smaller --context`,
    { cause },
  );
}

/** Heads of keys, and as many of values, that a layer keeps for every cell. */
export type KvHeads = Pick<UniformSizes, 'kvHeads' | 'headSize'>;

/** What a shard's layers keep, by their index. */
export function kvHeadsOf(
  { kvHeads, headSize }: KvHeads,
  { firstLayer, endLayer }: Shard,
): ReadonlyMap<number, KvHeads> {
  const layers = Array.from({ length: endLayer - firstLayer }, (_, i) => firstLayer + i);
  return new Map(layers.map((layer) => [layer, { kvHeads, headSize }]));
}
