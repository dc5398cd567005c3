import type { Batch, Stage } from './engine.js';
import { Refutations } from './refutations.js';

/** A batch with the id that the coordinator gave it. */
export interface StageStep extends Batch {
  readonly id: number;
  /** The step whose last choice this step's first token guesses; 0 when it guesses nothing. */
  readonly follows: number;
}

/** What becomes of a step. Each may return a promise: the next step is computed when it resolves. */
export interface StageOutputs {
  /** Without the head: hidden states [n, hiddenSize] f32 for the next stage; valid until the promise resolves. */
  forward(step: StageStep, hidden: Float32Array): Promise<void> | void;
  /** With the head: the chosen token ids, one per output row. */
  finish(step: StageStep, tokens: Int32Array): Promise<void> | void;
  /** The stage cannot compute this step; others are not affected. */
  fail(step: StageStep, error: Error): void;
  /** What computing a step took, for whoever plans by it. */
  onComputed?(step: StageStep, ms: number): void;
}

/** Where a stage's time went, in milliseconds, since the last reset. */
export interface RunnerStats {
  readonly steps: number;
  readonly computeMs: number;
  /** Nothing to compute. */
  readonly waitMs: number;
}

/** Cancelled steps that may still be on their way to a stage. */
const rememberedCancels = 256;

interface Waiting {
  readonly step: StageStep;
  readonly hidden: Float32Array;
  readonly release: () => void;
}

/**
 * The loop of a stage, in the coordinator and in workers alike: steps are computed one after the other in the order
 * of their arrival, while links receive the next and send the last one.
 */
export class StageRunner {
  readonly #queue: Waiting[] = [];
  readonly #cancelled = new Set<number>();
  readonly #refutations = new Refutations();
  readonly #output: Float32Array;
  #wake: (() => void) | undefined;
  #stopped = false;
  /** Id of the step that is being computed. */
  #computing: number | undefined;
  #stats = { steps: 0, computeMs: 0, waitMs: 0 };
  #waitingSince: number | undefined;
  readonly #finished: Promise<void>;

  constructor(
    private readonly stage: Stage,
    private readonly outputs: StageOutputs,
    maxBatchTokens: number,
  ) {
    this.#output = new Float32Array(stage.shard.head ? 0 : maxBatchTokens * stage.hiddenSize);
    this.#finished = this.#run();
  }

  /**
   * Adds a step to the queue.
   * @param hidden [n, hiddenSize] f32 from the previous stage; empty for a shard with the embedding
   * @param release called when `hidden` is no longer needed
   */
  enqueue(step: StageStep, hidden: Float32Array, release: () => void = () => undefined): void {
    this.#queue.push({ step, hidden, release });
    this.#wake?.();
  }

  /** Steps that are not done, or have not even arrived, are dropped without a result. */
  cancel(ids: Iterable<number>): void {
    for (const id of ids) this.#cancelled.add(id);
    if (this.#computing !== undefined && this.#cancelled.has(this.#computing)) this.stage.abort?.();
    // Among them are steps that are computed already, which nobody will ask for again.
    for (const id of this.#cancelled) {
      if (this.#cancelled.size <= rememberedCancels) return;
      this.#cancelled.delete(id);
    }
  }

  get stats(): RunnerStats {
    const waiting = this.#waitingSince === undefined ? 0 : performance.now() - this.#waitingSince;
    return { ...this.#stats, waitMs: this.#stats.waitMs + waiting };
  }

  resetStats(): void {
    this.#stats = { steps: 0, computeMs: 0, waitMs: 0 };
    if (this.#waitingSince !== undefined) this.#waitingSince = performance.now();
  }

  /** Ends the loop; resolves when the stage is idle and may be disposed of. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    await this.#finished;
  }

  async #run(): Promise<void> {
    for (;;) {
      const next = await this.#take();
      if (!next) return;
      try {
        if (!this.#isDropped(next.step)) await this.#compute(next);
      } finally {
        next.release();
      }
    }
  }

  /** Whether a step was cancelled, or the last stage's own choices have shown that it is for nothing. */
  #isDropped(step: StageStep): boolean {
    const dropped = this.#cancelled.delete(step.id) || this.#refutations.refutes(step);
    if (dropped) this.#refutations.dropped(step.id);
    return dropped;
  }

  async #take(): Promise<Waiting | undefined> {
    this.#waitingSince = performance.now();
    while (this.#queue.length === 0 && !this.#stopped)
      await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#stats.waitMs += performance.now() - this.#waitingSince;
    this.#waitingSince = undefined;
    this.#wake = undefined;
    return this.#stopped ? undefined : this.#queue.shift();
  }

  async #compute({ step, hidden }: Waiting): Promise<void> {
    try {
      const begin = performance.now();
      this.#computing = step.id;
      const tokens = await this.stage.forward(step, hidden, this.#output).finally(() => {
        this.#computing = undefined;
      });
      const computed = performance.now();
      this.#stats.steps++;
      this.#stats.computeMs += computed - begin;
      this.outputs.onComputed?.(step, computed - begin);
      if (this.#isDropped(step)) return;
      if (this.stage.shard.head) {
        this.#refutations.computed(step, tokens);
        await this.outputs.finish(step, tokens);
      } else
        await this.outputs.forward(
          step,
          this.#output.subarray(0, step.tokens.length * this.stage.hiddenSize),
        );
    } catch (error) {
      if (!this.#isDropped(step)) this.outputs.fail(step, error as Error);
    }
  }
}
