import { AcceptanceEstimate } from './acceptance.js';
import { batchTokensPerMs } from './batch-rate.js';
import { costsAt, tokensPerMs, type PipelineCosts } from './cost-model.js';
import {
  plainSchedule,
  type Schedule,
  type ScheduleChoice,
  type ScheduleMode,
} from './schedule.js';
import { TrackRecord } from './track-record.js';

/** Step sizes that are considered; what kernels compute is measured for these. */
export const stepSizes: readonly number[] = [1, 2, 4, 8, 16];

const largestStep = stepSizes.at(-1) ?? 1;

/** Most steps in flight. */
export const mostInFlight = 8;

/** Steps after a wrong guess that may have sizes of their own. */
const ownSizes = 3;

/** Speculation has to promise this much more than plain decoding: predictions are not exact. */
const worthwhile = 1.04;

/** A schedule is reconsidered when the acceptance has changed by this much, */
const reconsiderAt = 0.02;

/** or the length of the text by this share and this many cells. */
const longerBy = 0.25;
const leastLonger = 128;

/** A schedule, and the tokens per millisecond that the cost model expects of it. */
interface Candidate {
  readonly schedule: Schedule;
  readonly rate: number;
}

/**
 * Picks the schedule that should be fastest: by the cost model, the running acceptance of the drafts, and how fast each
 * mode has been in truth. Costs are measured once; other programs, or more conversations, change them.
 */
export class SchedulePlanner {
  readonly acceptance = new AcceptanceEstimate();
  #record = new TrackRecord();
  #candidates: readonly Candidate[] = [];
  #plannedFor = -1;
  /** Cells that steps look at, as far as plans know. */
  #cells = 0;
  #picked: Candidate | undefined;
  /** Tokens per millisecond, by how many sequences share a batch. */
  readonly #batchRates = new Map<number, number>();

  /**
   * @param costs of the pipeline, and of whatever drafts
   * @param fixed says what to do, instead of the cost model
   */
  constructor(
    private readonly choice: ScheduleChoice,
    private costs: PipelineCosts,
    private readonly fixed?: () => Schedule,
  ) {}

  /** From now on steps cost this; what was seen of others does not count. */
  use(costs: PipelineCosts): void {
    this.costs = costs;
    this.#record = new TrackRecord();
    this.#forgetPlans();
  }

  /** Steps look at so many cells now: the longer the text, the less weights count. */
  reads(cells: number): void {
    const change = Math.abs(cells - this.#cells);
    if (change <= Math.max(leastLonger, longerBy * this.#cells)) return;
    this.#cells = cells;
    this.#forgetPlans();
  }

  /** What to do now. */
  get schedule(): Schedule {
    return this.fixed ? this.fixed() : this.#pick().schedule;
  }

  /** Learns how long some tokens took, all of them with schedules of this mode. */
  observe(mode: ScheduleMode, tokens: number, ms: number): void {
    const picked = this.#picked;
    // What was planned meanwhile has another speed to compare with.
    if (picked?.schedule.mode !== mode) return;
    this.#record.add(mode, tokens / ms / picked.rate);
    this.#picked = undefined;
  }

  /** Whether sequences that speculate get on faster, together, than so many that are decoded in a batch. */
  paysFor(sequences: number): boolean {
    if (sequences <= 1) return true;
    if (this.fixed) return false;
    const picked = this.#pick();
    if (picked.schedule.mode === 'off') return false;
    return this.#expected(picked) > worthwhile * this.#batchRate(sequences);
  }

  /** Tokens per second that the schedule promises, against those without speculation. */
  get promisedSpeedup(): number {
    if (this.fixed) return 1;
    const plain = tokensPerMs(plainSchedule, this.acceptance.rate, this.#costsNow);
    return this.#expected(this.#pick()) / (plain * this.#record.ratio('off'));
  }

  #pick(): Candidate {
    const { rate } = this.acceptance;
    if (Math.abs(rate - this.#plannedFor) > reconsiderAt) {
      this.#candidates = candidates(this.choice, rate, this.#costsNow);
      this.#plannedFor = rate;
      this.#picked = undefined;
    }
    return (this.#picked ??= best(this.#candidates, (candidate) => this.#expected(candidate)));
  }

  #batchRate(sequences: number): number {
    const known = this.#batchRates.get(sequences);
    if (known !== undefined) return known;
    const rate = batchTokensPerMs(sequences, this.#costsNow, largestStep);
    this.#batchRates.set(sequences, rate);
    return rate;
  }

  #forgetPlans(): void {
    this.#plannedFor = -1;
    this.#batchRates.clear();
  }

  get #costsNow(): PipelineCosts {
    return costsAt(this.costs, this.#cells);
  }

  #expected({ schedule, rate }: Candidate): number {
    return rate * this.#record.ratio(schedule.mode);
  }
}

/** The fastest schedule that a choice allows. @param acceptance 0 to 1 */
export function bestSchedule(
  choice: ScheduleChoice,
  acceptance: number,
  costs: PipelineCosts,
): Schedule {
  return best(candidates(choice, acceptance, costs), ({ rate }) => rate).schedule;
}

/** The fastest schedule of each mode that a choice allows; without speculation first. */
function candidates(choice: ScheduleChoice, acceptance: number, costs: PipelineCosts): Candidate[] {
  const rate = (schedule: Schedule) => tokensPerMs(schedule, acceptance, costs);
  const schedules: Schedule[] = [];
  if (choice === 'off' || choice === 'auto') schedules.push(plainSchedule);
  if (choice === 'sync' || choice === 'auto') schedules.push(bestSync(rate));
  if (choice === 'pipelined' || choice === 'auto') schedules.push(bestPipelined(rate));
  return schedules.map((schedule) => ({ schedule, rate: rate(schedule) }));
}

function best(
  candidates: readonly Candidate[],
  expected: (candidate: Candidate) => number,
): Candidate {
  const demanded = (candidate: Candidate) =>
    expected(candidate) * (candidate.schedule.mode === 'off' ? worthwhile : 1);
  return candidates.reduce((a, b) => (demanded(b) > demanded(a) ? b : a));
}

type Rate = (schedule: Schedule) => number;

function bestSync(rate: Rate): Schedule {
  // A step of one token has no draft, and would never learn how good drafts are.
  const sizes = stepSizes.filter((size) => size > 1);
  return fastest(
    sizes.map((size) => ({ mode: 'sync', sizes: [size], window: 1 })),
    rate,
  );
}

/** The best of equal sizes; then each of the first sizes is varied for as long as that helps. */
function bestPipelined(rate: Rate): Schedule {
  const windows = Array.from({ length: mostInFlight }, (_, i) => i + 1);
  let best = fastest(
    stepSizes.flatMap((size) =>
      windows.map((window): Schedule => {
        const sizes = new Array<number>(ownSizes + 1).fill(size);
        return { mode: 'pipelined', sizes, window };
      }),
    ),
    rate,
  );
  for (;;) {
    const variants = [
      ...best.sizes.flatMap((_, i) =>
        stepSizes.map((size) => ({ ...best, sizes: best.sizes.with(i, size) })),
      ),
      ...windows.map((window) => ({ ...best, window })),
    ];
    const better = fastest([best, ...variants], rate);
    if (rate(better) <= rate(best)) return best;
    best = better;
  }
}

function fastest(schedules: readonly Schedule[], rate: Rate): Schedule {
  let best = schedules[0] ?? plainSchedule;
  let bestRate = rate(best);
  for (const schedule of schedules.slice(1)) {
    const other = rate(schedule);
    // A little more is not worth larger steps or more of them in flight, which come later in the list.
    if (other > bestRate * 1.001) [best, bestRate] = [schedule, other];
  }
  return best;
}
