import type { PassCosts, StageCosts } from '../speculative/cost-model.js';
import { stepSizes } from '../speculative/planner.js';
import { costsOf, type SeenSteps } from '../speculative/seen-costs.js';
import { greedy } from '../step/sampling.js';
import { noState, type Segment } from '../step/step.js';
import type { TraceEvent } from '../transport/protocol/tracer.js';
import type { CellRange } from './cells.js';
import type { Pipeline } from './pipeline.js';
import { causalSegment } from './segments.js';

/** Lengths of the texts whose steps are measured, in cells: they fill their windows, as kernels may skip what nobody sees. */
const shortText = 256;
export const longText = 1024;

const largestStep = stepSizes.at(-1) ?? 1;

/** Tokens of the smaller of two measured chunks of a prompt. */
const smallChunk = 64;

/** Steps of these sizes are measured in a long text too, as is the smaller chunk. */
const longSizes: readonly number[] = [1, 4];

/** Steps of one kind are repeated for this long, and at least twice: the fastest counts, others were disturbed. */
const repeatMs = 15;

/** Steps are repeated for this long before the beat of stages is measured whose costs are known. */
const warmUpMs = 60;

/** Those that take longer than this are computed once: building a graph is nothing against it. */
const longStepMs = 100;

/** The larger chunk is as large as this allows. */
const largeChunkMs = 500;

/** Measuring ends early on slow devices; what is not measured is known by what is. */
const mostMs = 2500;

/** Milliseconds of a step against which what is beside computing is small. */
const substantialMs = 10;

/** Steps that follow each other when the pipeline's beat is measured, beside as many that fill it. */
const burst = 3;

/** The beat is measured for so many times as long as one step. */
const rounds = 3;

/** What measuring needs of a coordinator. */
export interface Measured {
  readonly pipeline: Pipeline;
  startTrace(): void;
  /** What every stage did since. @throws CoordinatorError 'worker-lost' */
  stopTrace(): Promise<readonly (readonly TraceEvent[])[]>;
}

/** What lies between stages costs. */
export interface BetweenCosts extends Omit<PassCosts, 'stages'> {
  /** Milliseconds that a step takes of a stage beside computing. */
  readonly besideMs: number;
}

/** What stages and what lies between them cost. */
export interface MeasuredCosts extends BetweenCosts {
  /** Computing alone, on every stage with layers. */
  readonly stages: readonly StageCosts[];
}

/** Equal steps, and their ids. */
interface Probe {
  readonly segment: Segment;
  readonly steps: number[];
}

/**
 * Measures what steps of some sizes cost on every stage, in a short text and in a long one, with made-up tokens in cells
 * that nobody uses yet: some for decoding and drafts, and two chunks of a prompt.
 * @param range the cells
 * @param mostTokens that a step may have
 * @throws CoordinatorError 'worker-lost', 'step'
 */
export async function measureCosts(
  measured: Measured,
  range: CellRange,
  mostTokens: number,
): Promise<MeasuredCosts> {
  const measuring = new Measuring(measured, range, Math.min(mostTokens, range.length));
  return measuring.run();
}

/** What lies between stages, and what decoding takes of every stage now. */
export interface SeenRoute {
  readonly between: BetweenCosts;
  /** Of every stage with layers. */
  readonly stages: readonly (readonly SeenSteps[])[];
}

/**
 * Measures what lies between stages, which other programs change from one hour to the next.
 * @param range cells that nobody uses yet
 * @param mostTokens that a step may have
 * @throws CoordinatorError 'worker-lost', 'step'
 */
export async function measureBetween(
  measured: Measured,
  range: CellRange,
  mostTokens: number,
): Promise<SeenRoute> {
  return new Measuring(measured, range, Math.min(mostTokens, range.length)).between();
}

class Measuring {
  readonly #begin = performance.now();
  readonly #probes: Probe[] = [];

  constructor(
    private readonly measured: Measured,
    private readonly range: CellRange,
    private readonly most: number,
  ) {}

  async run(): Promise<MeasuredCosts> {
    const { pipeline } = this.measured;
    this.measured.startTrace();
    const { beats, passMs } = await this.#decoding(repeatMs, () => true);
    for (const size of longSizes)
      if (this.#hasLongText && this.#mayMeasure(size))
        await repeat(pipeline, this.#probe(size, longText));
    if (this.#mayMeasure(smallChunk)) await this.#chunks(passMs / largestStep);
    const stages = computing(await this.measured.stopTrace());
    return {
      ...betweenOf(beats, stages),
      stages: stages.map((times) => costsOf(this.#seen(times))),
    };
  }

  async between(): Promise<SeenRoute> {
    this.measured.startTrace();
    // A process that has just begun is slow at first.
    const { beats } = await this.#decoding(warmUpMs, (passMs) => passMs < substantialMs);
    const stages = computing(await this.measured.stopTrace());
    return {
      between: betweenOf(beats, stages),
      stages: stages.map((times) => this.#seen(times)),
    };
  }

  /**
   * Steps of all sizes that decoding may have.
   * @param oneMs that those of one token are repeated for
   * @param goesOn whether to measure larger ones than those that took so long
   * @returns how fast they follow each other, and what the largest took
   */
  async #decoding(
    oneMs: number,
    goesOn: (passMs: number) => boolean,
  ): Promise<{ readonly beats: Beats; readonly passMs: number }> {
    const { pipeline } = this.measured;
    const one = this.#probe(1);
    let larger = one;
    let passMs = await repeat(pipeline, one, oneMs);
    for (const size of stepSizes.slice(1)) {
      if (!this.#mayMeasure(size) || !goesOn(passMs)) break;
      const probe = this.#probe(size);
      // In large steps, all but computing is small.
      if (passMs < substantialMs) larger = probe;
      passMs = await repeat(pipeline, probe);
    }
    return { beats: await this.#beats(one, larger), passMs };
  }

  #seen(times: StageTimes): SeenSteps[] {
    return this.#probes.map((probe) => seenOf(probe, times));
  }

  async #beats(one: Probe, larger: Probe): Promise<Beats> {
    const { pipeline } = this.measured;
    const largerMs = await beat(pipeline, larger);
    // Now that everything has been done before, nothing is as slow as it is at first.
    const oneMs = await beat(pipeline, one);
    return { one, oneMs, larger, largerMs, roundTripMs: await repeat(pipeline, one) };
  }

  #mayMeasure(size: number): boolean {
    return size <= this.most && performance.now() - this.#begin < mostMs;
  }

  #probe(tokens: number, end = Math.max(tokens, shortText)): Probe {
    const probe = probeOf(tokens, this.range, end);
    this.#probes.push(probe);
    return probe;
  }

  /**
   * Two sizes say what a step costs and what its tokens cost. Chunks follow each other, as those of a prompt do.
   * @param tokenMs that a token takes in smaller steps
   */
  async #chunks(tokenMs: number): Promise<void> {
    const affordable = Math.floor(largeChunkMs / tokenMs / smallChunk);
    const large = Math.min(this.most, smallChunk * Math.max(2, affordable));
    const chunks = [this.#probe(smallChunk)];
    if (large > smallChunk) chunks.push(this.#probe(large));
    if (this.#hasLongText) chunks.push(this.#probe(smallChunk, longText));
    const submitAll = () =>
      Promise.all(chunks.map((chunk) => submit(this.measured.pipeline, chunk)));
    await fastest(submitAll, repeatMs);
  }

  get #hasLongText(): boolean {
    return this.range.length >= longText;
  }
}

/** How fast steps follow each other, and one alone. */
interface Beats {
  readonly one: Probe;
  readonly oneMs: number;
  readonly larger: Probe;
  readonly largerMs: number;
  readonly roundTripMs: number;
}

function betweenOf(
  { one, oneMs, larger, largerMs, roundTripMs }: Beats,
  stages: readonly StageTimes[],
): BetweenCosts {
  const slowest = (probe: Probe) => Math.max(...stages.map((times) => seenOf(probe, times).ms));
  const sharing = Math.max(1, largerMs / slowest(larger));
  const besideMs = Math.max(0, oneMs - sharing * slowest(one));
  const busyMs = stages.reduce((sum, times) => sum + seenOf(one, times).ms + besideMs, 0);
  // What stages do not take is spent on the way.
  const hopMs = Math.max(0, roundTripMs - busyMs) / Math.max(1, stages.length);
  return { besideMs, hopMs, sharing };
}

/** @param length of the text, where there are cells for it */
function probeOf(tokens: number, cells: CellRange, length: number): Probe {
  const end = Math.min(length, cells.length);
  const first = end - tokens;
  const segment = causalSegment({
    sequence: 1,
    text: new Int32Array(end),
    first,
    count: tokens,
    cells,
    choices: tokens >= smallChunk ? 'none' : 'all',
    sampling: greedy,
    state: { read: first === 0 ? noState : 0, write: 0 },
  });
  return { segment, steps: [] };
}

async function submit(pipeline: Pipeline, { segment, steps }: Probe): Promise<void> {
  const { id, results } = pipeline.submit([segment]);
  steps.push(id);
  await results[0];
}

/** @returns milliseconds that the fastest took to pass all stages */
function repeat(pipeline: Pipeline, probe: Probe, forMs = repeatMs): Promise<number> {
  return fastest(() => submit(pipeline, probe), forMs);
}

/** Does something once if it takes long, twice or more often otherwise. @returns milliseconds that the fastest took */
async function fastest(action: () => Promise<unknown>, forMs: number): Promise<number> {
  const begin = performance.now();
  let least = Infinity;
  for (let count = 1; ; count++) {
    const before = performance.now();
    await action();
    const now = performance.now();
    least = Math.min(least, now - before);
    if (least > longStepMs || (count > 1 && now - begin > forMs)) return least;
  }
}

/** @returns milliseconds from one step's result to the next while steps follow each other */
async function beat(pipeline: Pipeline, probe: Probe): Promise<number> {
  const begin = performance.now();
  let least = Infinity;
  do {
    const times: number[] = [];
    await Promise.all(
      Array.from({ length: 2 * burst }, async () => {
        await submit(pipeline, probe);
        times.push(performance.now());
      }),
    );
    least = Math.min(least, ((times.at(-1) ?? 0) - (times[burst - 1] ?? 0)) / burst);
  } while (performance.now() - begin < rounds * repeatMs);
  return least;
}

/** Milliseconds of computing, by step. */
type StageTimes = ReadonlyMap<number, number>;

/** Of each stage that has layers. */
function computing(traces: readonly (readonly TraceEvent[])[]): StageTimes[] {
  return traces
    .map((events) => events.filter(({ what }) => what === 'compute'))
    .filter((events) => events.length > 0)
    .map((events) => {
      const times = new Map<number, number>();
      // Long steps are computed in slices.
      for (const { step, durationMs } of events)
        times.set(step, (times.get(step) ?? 0) + durationMs);
      return times;
    });
}

/** What the fastest step took of a stage. */
function seenOf({ segment, steps }: Probe, times: StageTimes): SeenSteps {
  const ms = Math.min(...steps.map((step) => times.get(step) ?? Infinity));
  const { windowLength } = segment.visible;
  return { steps: steps.length, tokens: segment.tokens.length, cells: windowLength, ms };
}
