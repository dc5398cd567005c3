import { Batcher } from '../../coord/batcher.js';
import type { Pipeline } from '../../coord/pipeline.js';
import { RouteCosts } from '../../coord/route-costs.js';

/** A batcher over so many stages that nobody has measured. */
export function testBatcher(pipeline: Pipeline, chunkTokens: number, stages = 1): Batcher {
  const costs = RouteCosts.unknown(Array.from({ length: stages }, (_, i) => `stage ${i}`));
  return new Batcher({ pipeline, chunkTokens, costs: () => costs });
}
