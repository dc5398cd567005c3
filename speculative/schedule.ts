/** What is done with drafts; `auto` measures and picks one of the others. */
export type ScheduleMode = 'off' | 'sync' | 'pipelined';
export const scheduleChoices = ['off', 'sync', 'pipelined', 'auto'] as const;
export type ScheduleChoice = (typeof scheduleChoices)[number];

/** How many tokens go through the stages at a time, and how many steps at once. */
export interface Schedule {
  readonly mode: ScheduleMode;
  /**
   * Tokens of each step since the last wrong guess, the last entry for all that follow. The first step begins with a
   * token that is certain, all others are drafts.
   */
  readonly sizes: readonly number[];
  /** Most steps in flight. */
  readonly window: number;
}

/** One token at a time. */
export const plainSchedule: Schedule = { mode: 'off', sizes: [1], window: 1 };

/** Tokens of the step that is the `index`-th since the last wrong guess. */
export function stepSize({ sizes }: Schedule, index: number): number {
  return sizes[Math.min(index, sizes.length - 1)] ?? 1;
}
