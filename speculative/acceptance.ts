/** Weight of a judgment against that of the next: some hundred of them count. */
const forgetting = 0.99;

/** What is believed before anything was judged, and how many judgments that belief is worth. */
const assumed = 0.5;
const assumedWeight = 4;

/** The running probability that a draft is what the target chooses, given that those before it were. */
export class AcceptanceEstimate {
  #accepted = assumed * assumedWeight;
  #judged = assumedWeight;

  add(accepted: boolean): void {
    this.#accepted = this.#accepted * forgetting + (accepted ? 1 : 0);
    this.#judged = this.#judged * forgetting + 1;
  }

  /** 0 to 1. */
  get rate(): number {
    return this.#accepted / this.#judged;
  }
}
