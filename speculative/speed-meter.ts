import type { ScheduleMode } from './schedule.js';
import type { SchedulePlanner } from './planner.js';

/** Tokens that are measured together: single ones come in bursts. */
const measuredTokens = 32;

/** Tells the planner how fast one text grows. */
export class SpeedMeter {
  #mode: ScheduleMode | undefined;
  #tokens = 0;
  #beginMs = 0;

  constructor(private readonly planner: SchedulePlanner) {}

  /** Nothing was computed for this long, as nobody took the tokens. */
  pause(ms: number): void {
    this.#beginMs += ms;
  }

  /**
   * Some tokens have become certain.
   * @param nowMs on any clock
   */
  add(tokens: number, nowMs: number): void {
    this.#tokens += tokens;
    const { mode } = this.planner.schedule;
    if (mode === this.#mode && this.#tokens < measuredTokens) return;
    if (mode === this.#mode) this.planner.observe(mode, this.#tokens, nowMs - this.#beginMs);
    this.#mode = mode;
    this.#tokens = 0;
    this.#beginMs = nowMs;
  }
}
