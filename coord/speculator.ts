import type { Logger } from 'pino';
import type { DraftSource } from '../speculative/draft-source.js';
import { SchedulePlanner, stepSizes } from '../speculative/planner.js';
import type { Schedule, ScheduleChoice, ScheduleMode } from '../speculative/schedule.js';
import type { CellRange } from './cells.js';
import { measureCosts, type Measured } from './measure-costs.js';
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

  private constructor(
    private readonly options: SpeculationOptions,
    private readonly planner: SchedulePlanner,
    private readonly logger: Logger,
  ) {}

  /**
   * Measures the pipeline, unless it does not matter.
   * @param range cells that nobody uses yet
   * @throws CoordinatorError 'worker-lost', 'step'
   */
  static async open(
    options: SpeculationOptions,
    measured: Measured,
    range: CellRange,
    maxStepTokens: number,
    logger: Logger,
  ): Promise<Speculator> {
    const { choice, schedule, draftMs } = options;
    const most = Math.min(maxStepTokens, range.length);
    const sizes = stepSizes.filter((size) => size <= most);
    const isMeasured = !schedule && choice !== 'off';
    const costs = await measureCosts(measured, range, isMeasured ? sizes : []);
    const planner = new SchedulePlanner(choice, { ...costs, draftMs }, schedule);
    return new Speculator(options, planner, logger);
  }

  for(sequence: Sequence): SequenceDrafts {
    const counts = () => this.#counts;
    return {
      planner: this.planner,
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
      mode: this.planner.schedule.mode,
      acceptanceRate: drafted === 0 ? 0 : accepted / drafted,
      promisedSpeedup: this.planner.promisedSpeedup,
    };
  }

  resetStats(): void {
    this.#counts = noCounts();
  }
}

function noCounts(): DraftCounts {
  return { drafted: 0, accepted: 0, steps: 0, cancelledSteps: 0 };
}
