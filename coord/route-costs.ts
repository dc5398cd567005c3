import type { PassCosts, StageCosts } from '../speculative/cost-model.js';
import { areFarOff, withSeenChunks, type SeenSteps } from '../speculative/seen-costs.js';
import type { CellRange } from './cells.js';
import type { CostCache } from './cost-cache.js';
import {
  measureBetween,
  measureCosts,
  type Measured,
  type MeasuredCosts,
} from './measure-costs.js';
import { typicalCosts } from './prompt-chunks.js';

/** What is known of a stage's costs is measured again when its steps take longer or shorter by this factor. */
const farOff = 1.5;

/** The same for steps of answers, which other programs and conversations may disturb. */
const farOffInUse = 2.5;

/** Where and how costs are measured. */
export interface CostNeeds extends Measured {
  readonly cache: CostCache;
  /** Cells that nobody uses yet. */
  readonly cells: CellRange;
  /** Most tokens in a step. */
  readonly mostTokens: number;
}

/** What steps cost on a route: as they were measured when it was made, and as its stages have seen since. */
export class RouteCosts {
  /** For decoding, as measured: what became of promises is seen by whoever made them. */
  readonly pipeline: PassCosts;
  #seen: readonly (readonly SeenSteps[])[] = [];

  private constructor(
    private readonly keys: readonly string[],
    private readonly measured: MeasuredCosts | undefined,
    private readonly cache: CostCache | undefined,
  ) {
    const { stages, besideMs = 0, hopMs = 0, sharing = 1 } = measured ?? {};
    const withBeside = (stage: StageCosts) =>
      stage.map((point) => ({ ...point, ms: point.ms + besideMs }));
    const known = stages ?? keys.map(() => typicalCosts);
    this.pipeline = { stages: known.map(withBeside), hopMs, sharing };
  }

  /** Nobody has asked for costs: steps are made by what CPUs typically show. */
  static unknown(keys: readonly string[]): RouteCosts {
    return new RouteCosts(keys, undefined, undefined);
  }

  /**
   * Measures what lies between stages, and the stages where they are not known from an earlier time, or not any more.
   * @param keys what the costs of every stage with layers depend on: under these names they are kept
   * @throws CoordinatorError 'worker-lost', 'step'
   */
  static async of(keys: readonly string[], needs: CostNeeds): Promise<RouteCosts> {
    const { cache, cells, mostTokens } = needs;
    const known = await Promise.all(keys.map((key) => cache.stage(key)));
    const stages = known.filter((stage) => stage !== undefined);
    if (stages.length === keys.length) {
      const seen = await measureBetween(needs, cells, mostTokens);
      if (!stages.some((costs, i) => areFarOff(costs, seen.stages[i] ?? [], farOff)))
        return new RouteCosts(keys, { ...seen.between, stages }, cache);
    }
    const measured = await measureCosts(needs, cells, mostTokens);
    for (const [i, key] of keys.entries()) await cache.keep(key, measured.stages[i] ?? []);
    return new RouteCosts(keys, measured, cache);
  }

  /** Of every stage with layers, for chunks of prompts. */
  get stages(): readonly StageCosts[] {
    return this.keys.map((_, i) =>
      withSeenChunks(this.measured?.stages[i] ?? typicalCosts, this.#seen[i] ?? []),
    );
  }

  /** @param seen by every stage with layers */
  async learn(seen: readonly (readonly SeenSteps[])[]): Promise<void> {
    this.#seen = seen;
    const { measured, cache } = this;
    if (!measured || !cache) return;
    const factor = farOffInUse * measured.sharing;
    for (const [i, key] of this.keys.entries())
      if (areFarOff(measured.stages[i] ?? [], seen[i] ?? [], factor)) await cache.forget(key);
  }
}
