import type { Batch } from '../engine/engine.js';
import type { StageStep } from '../engine/stage-runner.js';
import { CoordinatorError } from './errors.js';

/** Hands steps to the first stage and tells all stages which ones to drop. */
export interface PipelineEntry {
  /** Resolves when the stage can take another step. */
  submit(step: StageStep): Promise<void> | void;
  cancel(ids: readonly number[]): void;
}

interface InFlight {
  resolve(tokens: Int32Array): void;
  reject(error: Error): void;
}

/** Steps on their way through the stages. Results come back in any order and are matched by step id. */
export class Pipeline {
  readonly #inFlight = new Map<number, InFlight>();
  #nextId = 1;
  #broken: Error | undefined;

  constructor(private readonly entry: PipelineEntry) {}

  /**
   * Sends one step through all stages.
   * @param follows id of the step whose last choice the batch's first token guesses; 0 when it guesses nothing
   * @returns its id, and the chosen token for every output row
   * The promise rejects with CoordinatorError 'step', 'cancelled' or 'worker-lost'.
   */
  submit(batch: Batch, follows = 0): { id: number; tokens: Promise<Int32Array> } {
    const id = this.#nextId;
    this.#nextId = id === 0xffff_ffff ? 1 : id + 1;
    const tokens = new Promise<Int32Array>((resolve, reject) => {
      if (this.#broken) return reject(this.#broken);
      this.#inFlight.set(id, { resolve, reject });
      void this.#enter({ ...batch, id, follows });
    });
    return { id, tokens };
  }

  async #enter(step: StageStep): Promise<void> {
    try {
      await this.entry.submit(step);
    } catch (error) {
      this.failed(step.id, error as Error);
    }
  }

  /** Steps on their way. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Drops steps everywhere; their promises reject with CoordinatorError 'cancelled'. */
  cancel(ids: readonly number[]): void {
    const known = ids.filter((id) => this.#inFlight.has(id));
    if (known.length === 0) return;
    this.entry.cancel(known);
    for (const id of known) this.failed(id, new CoordinatorError('cancelled', 'cancelled'));
  }

  /** The last stage has finished a step. Results of cancelled steps are ignored. */
  finished(id: number, tokens: Int32Array): void {
    this.#inFlight.get(id)?.resolve(tokens);
    this.#inFlight.delete(id);
  }

  /** A stage could not compute a step. */
  failed(id: number, error: Error): void {
    this.#inFlight.get(id)?.reject(error);
    this.#inFlight.delete(id);
  }

  /** No step can pass any more: all in flight and all later ones fail. */
  break(error: Error): void {
    this.#broken ??= error;
    for (const step of this.#inFlight.values()) step.reject(this.#broken);
    this.#inFlight.clear();
  }
}
