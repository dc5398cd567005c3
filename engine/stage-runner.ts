import type { Batch, Stage } from './engine.js';

/** A batch with the id that the coordinator gave it. */
export interface StageStep extends Batch {
  readonly id: number;
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
  readonly #output: Float32Array;
  #wake: (() => void) | undefined;
  #stopped = false;
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

  /** Steps that have not begun are dropped without a result. */
  cancel(ids: Iterable<number>): void {
    const waiting = new Set(this.#queue.map(({ step }) => step.id));
    for (const id of ids) if (waiting.has(id)) this.#cancelled.add(id);
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
        if (!this.#cancelled.delete(next.step.id)) await this.#compute(next);
      } finally {
        next.release();
      }
    }
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
      const tokens = await this.stage.forward(step, hidden, this.#output);
      const computed = performance.now();
      this.outputs.onComputed?.(step, computed - begin);
      if (this.stage.shard.head) await this.outputs.finish(step, tokens);
      else
        await this.outputs.forward(
          step,
          this.#output.subarray(0, step.tokens.length * this.stage.hiddenSize),
        );
      this.#stats.steps++;
      this.#stats.computeMs += computed - begin;
    } catch (error) {
      this.outputs.fail(step, error as Error);
    }
  }
}
