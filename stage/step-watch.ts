import { SpinTime } from '../transport/wire/spin-time.js';
import { SpareCore } from './spare-core.js';
import type { Turns } from './turns.js';

/** Milliseconds: whoever waits longer for a step may as well be woken. */
const longestMs = 40;

/**
 * Keeps the event loop looking at its sockets, instead of sleeping, while a stage waits for its next step: for about as
 * long as it usually waits, if that is short, and where no one else wants the core. Being woken takes longer than a look.
 */
export class StepWatch {
  readonly #spinTime = new SpinTime(longestMs);
  #isWaiting = false;
  #isLooking = false;

  /** @param turns of the device: what computes there may need this core */
  constructor(private readonly turns: Turns) {}

  /** The stage has nothing to do until the next step comes. */
  begin(): void {
    this.#isWaiting = true;
    this.#spinTime.expect(performance.now());
    if (this.#isLooking || !SpareCore.running.begin()) return;
    this.#isLooking = true;
    setImmediate(() => this.#look());
  }

  /** A step has come. */
  end(): void {
    if (!this.#isWaiting) return;
    this.#isWaiting = false;
    this.#spinTime.found(performance.now());
  }

  /** Between two of these the event loop looks at all sockets, timers and whatever else there is. */
  #look(): void {
    if (this.#isWaiting && !this.turns.isTaken && this.#spinTime.goesOn(performance.now()))
      setImmediate(() => this.#look());
    else {
      this.#isLooking = false;
      SpareCore.running.end();
    }
  }
}
