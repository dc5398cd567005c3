import { AcceptanceEstimate } from './acceptance.js';
import { tokensPerMs, type PipelineCosts } from './cost-model.js';
import { plainSchedule, type Schedule, type SpeculationChoice } from './schedule.js';

/** Step sizes that are considered; what kernels compute is measured for these. */
export const stepSizes: readonly number[] = [1, 2, 4, 8, 16];

/** Most steps in flight. */
export const mostInFlight = 8;

/** Steps after a wrong guess that may have sizes of their own. */
const ownSizes = 3;

/** Speculation has to promise this much more than plain decoding: predictions are not exact. */
const worthwhile = 1.04;

/** A schedule is reconsidered when the acceptance has changed by this much. */
const reconsiderAt = 0.02;

/** Picks the schedule that the cost model says is fastest, from the running acceptance of the drafts. */
export class SpeculationPlanner {
  readonly acceptance = new AcceptanceEstimate();
  #schedule: Schedule | undefined;
  #plannedFor = -1;

  /**
   * @param costs of the pipeline, and of whatever drafts
   * @param fixed says what to do, instead of the cost model
   */
  constructor(
    private readonly choice: SpeculationChoice,
    private readonly costs: PipelineCosts,
    private readonly fixed?: () => Schedule,
  ) {}

  /** What to do now. */
  get schedule(): Schedule {
    if (this.fixed) return this.fixed();
    const { rate } = this.acceptance;
    if (!this.#schedule || Math.abs(rate - this.#plannedFor) > reconsiderAt) {
      this.#schedule = bestSchedule(this.choice, rate, this.costs);
      this.#plannedFor = rate;
    }
    return this.#schedule;
  }

  /** Tokens per second that the schedule promises, against those without speculation. */
  get promisedSpeedup(): number {
    const { rate } = this.acceptance;
    const plain = tokensPerMs(plainSchedule, rate, this.costs);
    return tokensPerMs(this.schedule, rate, this.costs) / plain;
  }
}

/** The fastest schedule that a choice allows. @param acceptance 0 to 1 */
export function bestSchedule(
  choice: SpeculationChoice,
  acceptance: number,
  costs: PipelineCosts,
): Schedule {
  if (choice === 'off') return plainSchedule;
  const rate = (schedule: Schedule) => tokensPerMs(schedule, acceptance, costs);
  const candidates = [
    ...(choice === 'pipelined' ? [] : [bestSync(rate)]),
    ...(choice === 'sync' ? [] : [bestPipelined(rate)]),
  ];
  const best = fastest(candidates, rate);
  return choice === 'auto' && rate(best) < worthwhile * rate(plainSchedule) ? plainSchedule : best;
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
