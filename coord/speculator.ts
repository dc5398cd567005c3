import type { Logger } from 'pino';
import type { DraftSource } from '../speculative/draft-source.js';
import type { PassCosts, PipelineCosts } from '../speculative/cost-model.js';
import { SchedulePlanner } from '../speculative/planner.js';
import type { Schedule, ScheduleChoice, ScheduleMode } from '../speculative/schedule.js';
import type { Sequence } from './sequence.js';
import type { DraftCounts, SequenceDrafts } from './speculative-decoder.js';

/** How to speculate. */
export interface SpeculationOptions {
  readonly choice: ScheduleChoice;
  readonly drafts: (sequence: Sequence) => DraftSource;
  /** Milliseconds that a draft takes when nothing else is computed. */
  readonly draftMs: number;
  /** Says what to do, instead of the cost model. */
  readonly schedule?: () => Schedule;
}

/** What became of drafts. */
export interface DraftStats extends Readonly<DraftCounts> {
  /** What is being done now. */
  readonly mode: ScheduleMode;
  /** Share of the judged drafts that were right, 0 to 1. */
  readonly acceptanceRate: number;
  /** Tokens per second against decoding without drafts, as the cost model has it. */
  readonly promisedSpeedup: number;
}

/** A coordinator's speculation: what its sequences share. */
export class Speculator {
  #counts: DraftCounts = noCounts();

  readonly #planner: SchedulePlanner;

  constructor(
    private readonly options: SpeculationOptions,
    private readonly logger: Logger,
  ) {
    this.#planner = new SchedulePlanner(options.choice, noCosts, options.schedule);
  }

  /** Whether costs decide what is done. */
  get needsCosts(): boolean {
    return !this.options.schedule && this.options.choice !== 'off';
  }

  /** From now on steps cost this. */
  use(costs: PassCosts): void {
    this.#planner.use({ ...costs, draftMs: this.options.draftMs });
  }

  for(sequence: Sequence): SequenceDrafts {
    const counts = () => this.#counts;
    return {
      planner: this.#planner,
      source: this.options.drafts(sequence),
      count: (generation) => {
        for (const key of Object.keys(generation) as (keyof DraftCounts)[])
          counts()[key] += generation[key];
      },
      logger: this.logger,
    };
  }

  /** Since the last reset. */
  get stats(): DraftStats {
    const { drafted, accepted } = this.#counts;
    return {
      ...this.#counts,
      mode: this.#planner.schedule.mode,
      acceptanceRate: drafted === 0 ? 0 : accepted / drafted,
      promisedSpeedup: this.#planner.promisedSpeedup,
    };
  }

  resetStats(): void {
    this.#counts = noCounts();
  }
}

const noCosts: PipelineCosts = { stages: [], hopMs: 0, draftMs: 0, sharing: 1 };

function noCounts(): DraftCounts {
  return { drafted: 0, accepted: 0, steps: 0, cancelledSteps: 0 };
}
