import { EngineError } from './engine.js';

/** Sees to it that a stage is not used when it is closed, and not freed while it computes. */
export class StageLifetime {
  #isClosed = false;
  #isComputing = false;

  /** @param free gives back all that the stage holds; called once */
  constructor(private readonly free: () => void) {}

  get isComputing(): boolean {
    return this.#isComputing;
  }

  /** @throws EngineError 'internal' when the stage is closed, or is computing already */
  async compute<Result>(action: () => Promise<Result>): Promise<Result> {
    if (this.#isClosed) throw new EngineError('internal', 'this stage is closed');
    if (this.#isComputing) throw new EngineError('internal', 'this stage is computing a step');
    this.#isComputing = true;
    try {
      return await action();
    } finally {
      this.#isComputing = false;
      if (this.#isClosed) this.free();
    }
  }

  /** Frees the stage, when the step that is being computed is done. Again, it does nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (!this.#isComputing) this.free();
  }
}
