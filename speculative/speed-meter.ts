import type { ScheduleMode } from './schedule.js';
import type { SchedulePlanner } from './planner.js';

/** Tokens that are measured together: single ones come in bursts. */
const measuredTokens = 32;

/**
 * Tokens at the beginning of a text, and of a mode, that are not measured: graphs are built then, the pipeline is empty,
 * and code runs for the first time.
 */
const warmUpTokens = 16;

/** Tells the planner how fast texts grow. */
export class SpeedMeter {
  #mode: ScheduleMode | undefined;
  #tokens = 0;
  #beginMs = 0;
  #isWarm = false;

  constructor(private readonly planner: SchedulePlanner) {}

  /** Nothing was computed for this long, as nobody took the tokens. */
  pause(ms: number): void {
    this.#beginMs += ms;
  }

  /**
   * Some tokens have become certain, of all texts that grow in this way.
   * @param nowMs on any clock
   */
  add(tokens: number, nowMs: number): void {
    this.#tokens += tokens;
    const { mode } = this.planner.schedule;
    const isSame = mode === this.#mode;
    if (isSame && this.#tokens < (this.#isWarm ? measuredTokens : warmUpTokens)) return;
    if (isSame && this.#isWarm) this.planner.observe(mode, this.#tokens, nowMs - this.#beginMs);
    this.#isWarm = isSame;
    this.#mode = mode;
    this.#tokens = 0;
    this.#beginMs = nowMs;
  }
}
