import type { Step } from '../../../step/step.js';

export interface Arrival {
  readonly step: Step;
  /** A copy, because the link uses its memory again after `release`. */
  readonly hidden: Float32Array;
  readonly release: () => void;
}

/** What arrives at a receiver, one after the other. */
export class Arrivals {
  readonly all: Arrival[] = [];
  #notice: () => void = () => undefined;

  readonly take = (step: Step, hidden: Float32Array, release: () => void): void => {
    this.all.push({ step, hidden: hidden.slice(), release });
    this.#notice();
  };

  async nth(index: number): Promise<Arrival> {
    for (;;) {
      const arrival = this.all[index];
      if (arrival) return arrival;
      await new Promise<void>((resolve) => (this.#notice = resolve));
    }
  }
}
