import type { Model } from '../../model/architectures/model.js';
import type { Shard } from '../../step/shard.js';
import type { KvCache } from './attention/kv-cache.js';
import type { MaskWriter } from './attention/mask-writer.js';
import type { Products } from './products.js';
import type { StateMemory } from './state/state-memory.js';
import type { Weights } from './weights.js';

/** What graphs of one stage have in common. */
export interface StageParts extends Pick<Model, 'decoder' | 'sizes' | 'layers'> {
  readonly shard: Shard;
  readonly weights: Weights;
  readonly products: Products;
  readonly kv: KvCache;
  readonly states: StateMemory;
  readonly masks: MaskWriter;
  /** Name of the head's matrix, without its suffix. */
  readonly headName: string;
  /** Whether graphs give which experts rows go through. */
  readonly countsRoutings: boolean;
}
