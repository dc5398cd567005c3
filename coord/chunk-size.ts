/** How long a stage takes for a step: a fixed part (weights, link, overhead) and a part for each token. */
export interface StepCost {
  readonly fixedMs: number;
  readonly perTokenMs: number;
}

/** Kernels compute tiles of this many tokens at full speed: chunks are whole tiles, and shorter prompts stay whole. */
const tile = 64;

/**
 * The chunk size that gets a prompt through a pipeline soonest. k chunks of n / k tokens need
 * (k + stages − 1) · (fixed + perToken · n / k), which is least for k = √((stages − 1) · n · perToken / fixed).
 * @param tokens of the prompt that are to be computed
 * @param mostTokens that one step may have
 */
export function chunkSize(
  tokens: number,
  stages: number,
  { fixedMs, perTokenMs }: StepCost,
  mostTokens: number,
): number {
  if (stages < 2 || tokens <= tile) return mostTokens;
  const chunks = Math.sqrt(((stages - 1) * tokens * perTokenMs) / Math.max(fixedMs, 1e-6));
  const fewest = Math.ceil(tokens / mostTokens);
  const size = tokens / Math.max(fewest, Math.round(chunks));
  return Math.min(mostTokens, Math.max(1, Math.round(size / tile)) * tile);
}

/** Steps count for less by this factor with every new one. */
const forgetting = 0.95;

/**
 * Learns what a step costs from those that were measured: a least-squares line through (tokens, milliseconds), in
 * which old steps fade. Until there are enough of different sizes it assumes what CPUs typically show.
 */
export class StepCostEstimate {
  #weight = 0;
  #tokens = 0;
  #ms = 0;
  #tokensSquared = 0;
  #tokensMs = 0;

  /** @param ms from when the step could begin to when it was done, on one stage */
  add(tokens: number, ms: number): void {
    this.#weight = this.#weight * forgetting + 1;
    this.#tokens = this.#tokens * forgetting + tokens;
    this.#ms = this.#ms * forgetting + ms;
    this.#tokensSquared = this.#tokensSquared * forgetting + tokens * tokens;
    this.#tokensMs = this.#tokensMs * forgetting + tokens * ms;
  }

  get cost(): StepCost {
    const spread = this.#weight * this.#tokensSquared - this.#tokens ** 2;
    if (this.#weight < 2 || spread < 1e-3 * this.#tokens ** 2) return typicalCost;
    const perTokenMs = (this.#weight * this.#tokensMs - this.#tokens * this.#ms) / spread;
    const fixedMs = (this.#ms - perTokenMs * this.#tokens) / this.#weight;
    if (perTokenMs <= 0) return typicalCost;
    // Steps never cost nothing: a line that says so was bent by noise.
    return { fixedMs: Math.max(fixedMs, perTokenMs), perTokenMs };
  }
}

/** Only their ratio matters. */
const typicalCost: StepCost = { fixedMs: 8, perTokenMs: 1 };
