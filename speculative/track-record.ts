import type { ScheduleMode } from './schedule.js';

/** Weight of what was seen last against all that was seen before, at least: at first there is less before it. */
const newest = 0.25;

/** Whoever is not used is forgiven by this share whenever another is seen, so that it is tried again. */
const forgiving = 0.005;

/** How fast each mode was in truth, against what the cost model says of it: 1 until something else is seen. */
export class TrackRecord {
  readonly #ratios: Record<ScheduleMode, number> = { off: 1, sync: 1, pipelined: 1 };
  readonly #seen: Record<ScheduleMode, number> = { off: 0, sync: 0, pipelined: 0 };

  /** @param ratio seen speed / expected speed, over some tokens */
  add(mode: ScheduleMode, ratio: number): void {
    // The model counts like one time.
    const weight = Math.max(newest, 1 / (++this.#seen[mode] + 1));
    for (const other of Object.keys(this.#ratios) as ScheduleMode[]) {
      const ratioBefore = this.#ratios[other];
      this.#ratios[other] +=
        other === mode ? weight * (ratio - ratioBefore) : forgiving * (1 - ratioBefore);
    }
  }

  /** Times what the cost model expects gives what is to be expected. */
  ratio(mode: ScheduleMode): number {
    return this.#ratios[mode];
  }
}
