import { setImmediate } from 'node:timers/promises';
import type { Stage } from '../engine/engine.js';
import type { LayerRoutings } from '../engine/routing-counts.js';
import type { KeyedPage } from '../step/pages.js';
import type { Segment, SegmentResult, Step } from '../step/step.js';
import type { StepTimes } from '../transport/messages/messages.js';
import type { Tracer } from '../transport/protocol/tracer.js';
import { rowsOf } from './keep-segments.js';
import { overtakingStep } from './overtaking.js';
import { StageSlices, type Slice } from './stage-slices.js';
import { StepCostEstimate } from './step-cost.js';
import { StepWatch } from './step-watch.js';
import type { Turns } from './turns.js';
import { WantedSegments, type SegmentId } from './wanted-segments.js';

/** What becomes of a step. The first two may return a promise: the next step is computed when it resolves. */
export interface StepOutputs {
  /** Without the head: hidden states [rows, hiddenSize] f32 for the next stage; valid until the promise resolves. */
  forward(step: Step, hidden: Float32Array): Promise<void> | void;
  /** With the head: what every segment wanted, in their order. */
  finish(step: Step, results: readonly SegmentResult[]): Promise<void> | void;
  /** The stage cannot compute this step; others are not affected. */
  fail(step: Step, error: Error): void;
}

export interface StageRunnerOptions {
  readonly maxStepRows: number;
  /** Of the device that the stage shares with others. */
  readonly turns: Turns;
  readonly tracer: Tracer;
  /** Keeps pages in files. */
  readonly keepPages?: (pages: readonly KeyedPage[]) => Promise<void>;
}

/** Where a stage's time went since the last reset, in milliseconds. */
export interface RunnerStats {
  readonly steps: number;
  readonly computeMs: number;
  /** Nothing to compute. */
  readonly waitMs: number;
  /** What it has learnt of its costs, ever. */
  readonly times: readonly StepTimes[];
  readonly routings: readonly LayerRoutings[];
}

/** A step on its way through the stage, less what nobody wants any more. */
interface Work {
  step: Step;
  readonly hidden: Float32Array;
  readonly release: () => void;
  /** Milliseconds of computing it, so far. */
  computeMs: number;
}

const noRows = new Float32Array(0);

/**
 * The loop of a stage, in the coordinator and in workers alike: steps are computed one after the other in the order
 * of their arrival, while links receive the next and send the last one. Long steps are computed in slices, where the
 * engine can, and after each a short step of others may overtake. What nobody wants any more is left out wherever that is
 * noticed first.
 */
export class StageRunner {
  readonly #queue: Work[] = [];
  readonly #wanted = new WantedSegments();
  readonly #cost = new StepCostEstimate();
  readonly #slices: StageSlices;
  readonly #watch: StepWatch;
  readonly #output: Float32Array;
  #wake: (() => void) | undefined;
  #stopped = false;
  /** The step that is being computed. */
  #computing: Step | undefined;
  #stats = { steps: 0, computeMs: 0, waitMs: 0 };
  #waitingSince: number | undefined;
  readonly #finished: Promise<void>;

  constructor(
    private readonly stage: Stage,
    private readonly outputs: StepOutputs,
    private readonly options: StageRunnerOptions,
  ) {
    const rows = stage.shard.head ? 0 : options.maxStepRows;
    this.#output = new Float32Array(rows * stage.hiddenSize);
    this.#slices = new StageSlices(stage);
    this.#watch = new StepWatch(options.turns);
    this.#finished = this.#run();
  }

  /**
   * Adds a step to the queue.
   * @param hidden [rows, hiddenSize] f32 from the previous stage, which may be changed until `release` is called; empty
   * for a shard with the embedding
   */
  enqueue(step: Step, hidden: Float32Array, release: () => void = () => undefined): void {
    this.#queue.push({ step, hidden, release, computeMs: 0 });
    this.#wake?.();
  }

  /** Drops segments that are not done, or have not even arrived: they give no result. */
  cancel(segments: Iterable<SegmentId>): void {
    this.#wanted.cancel(segments);
    this.#abortIfUseless();
  }

  /** From now on steps of older epochs are dropped. */
  beginEpoch(epoch: number): void {
    this.#wanted.beginEpoch(epoch);
    this.#abortIfUseless();
  }

  get stats(): RunnerStats {
    const waiting = this.#waitingSince === undefined ? 0 : performance.now() - this.#waitingSince;
    return {
      ...this.#stats,
      times: this.#cost.times,
      waitMs: this.#stats.waitMs + waiting,
      routings: this.stage.routings?.layers ?? [],
    };
  }

  resetStats(): void {
    this.#stats = { steps: 0, computeMs: 0, waitMs: 0 };
    this.stage.routings?.reset();
    if (this.#waitingSince !== undefined) this.#waitingSince = performance.now();
  }

  /** Ends the loop, and gives up the step under way; resolves when the stage is idle and may be disposed of. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#abortIfUseless();
    this.#wake?.();
    await this.#finished;
  }

  async #run(): Promise<void> {
    for (;;) {
      const work = await this.#take();
      if (!work) return;
      await this.#process(work);
    }
  }

  async #take(): Promise<Work | undefined> {
    this.#waitingSince = performance.now();
    while (this.#queue.length === 0 && !this.#stopped) {
      this.#watch.begin();
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#watch.end();
    }
    this.#stats.waitMs += performance.now() - this.#waitingSince;
    this.#waitingSince = undefined;
    this.#wake = undefined;
    return this.#stopped ? undefined : this.#queue.shift();
  }

  async #process(work: Work): Promise<void> {
    try {
      if (this.#isWanted(work, work.hidden)) await this.#computeAndSend(work);
    } catch (error) {
      if (this.#isWanted(work, noRows)) this.outputs.fail(work.step, error as Error);
    } finally {
      work.release();
    }
  }

  async #computeAndSend(work: Work): Promise<void> {
    const results = await this.#compute(work);
    const computed = work.step;
    if (!results || !this.#isWanted(work, this.#output)) return;
    if (this.stage.shard.head) await this.#finish(work.step, computed, results);
    else await this.outputs.forward(work.step, this.#rowsOf(work.step, this.#output));
  }

  /** @returns undefined when nobody wants the step any more */
  async #compute(work: Work): Promise<readonly SegmentResult[] | undefined> {
    const { segments, copies, keeps = [] } = work.step;
    if (segments.length === 0 && !copies) return this.#keep(work, keeps);
    let slice: Slice | undefined;
    for (;;) {
      if (this.#slices.areOf(work.step)) await this.#letOvertake(work.step);
      const results = await this.options.turns.take(async () => {
        // While others had their turn, somebody may have cancelled.
        const isWanted = slice ? this.#isStillWanted(work) : this.#isWanted(work, work.hidden);
        if (!isWanted) return 'unwanted';
        slice ??= this.#begin(work);
        return this.#computeSlice(work, slice);
      });
      if (results === 'unwanted') return undefined;
      if (!results) continue;
      this.#computed(work);
      return results;
    }
  }

  /** @returns undefined when nobody wants the step any more */
  #keep(work: Work, pages: readonly KeyedPage[]): Promise<readonly SegmentResult[] | undefined> {
    return this.options.turns.take(async () => {
      if (!this.#isWanted(work, noRows)) return undefined;
      await this.options.keepPages?.(pages);
      return [];
    });
  }

  #begin({ step, hidden }: Work): Slice {
    return this.#slices.begin(step, this.#rowsOf(step, hidden), this.#output);
  }

  async #computeSlice(work: Work, slice: Slice): ReturnType<Slice> {
    const begin = performance.now();
    this.#computing = work.step;
    try {
      return await slice();
    } finally {
      this.#computing = undefined;
      work.computeMs += performance.now() - begin;
      this.options.tracer.record('compute', work.step.id, begin);
    }
  }

  #computed({ step, computeMs }: Work): void {
    this.#stats.steps++;
    this.#stats.computeMs += computeMs;
    if (step.copies) return;
    this.#cost.add(step.segments, computeMs);
    this.#slices.computed(step, computeMs);
  }

  /** Before every slice of a step one short step may be computed, so that both go on. */
  async #letOvertake(underWay: Step): Promise<void> {
    // What came while the slice was computed may not be read yet.
    await setImmediate();
    const waiting = this.#queue.map(({ step }) => step);
    const index = overtakingStep(underWay, waiting);
    const [work] = index < 0 ? [] : this.#queue.splice(index, 1);
    if (work) await this.#process(work);
  }

  /** @param step what is left of the step that was `computed` */
  async #finish(step: Step, computed: Step, results: readonly SegmentResult[]): Promise<void> {
    const left = new Set(step.segments);
    const kept = results.filter((_, i) => left.has(computed.segments[i] as Segment));
    this.#wanted.chosen(step, kept);
    await this.outputs.finish(step, kept);
  }

  /** Whether anything is wanted of a step under way, of which nothing can be left out. */
  #isStillWanted(work: Work): boolean {
    return (!this.#stopped && this.#wanted.hasAny(work.step)) || this.#isWanted(work, noRows);
  }

  /** Leaves out what nobody wants. @param rows of the step, which move up @returns whether anything is left */
  #isWanted(work: Work, rows: Float32Array): boolean {
    const wanted = this.#wanted.of(work.step, rows, this.stage.hiddenSize);
    if (!wanted || this.#stopped) return false;
    work.step = wanted;
    return true;
  }

  #abortIfUseless(): void {
    const step = this.#computing;
    if (step && (this.#stopped || !this.#wanted.hasAny(step))) this.stage.abort?.();
  }

  #rowsOf(step: Step, buffer: Float32Array): Float32Array {
    return rowsOf(step, buffer, this.stage.hiddenSize);
  }
}
