import { EngineError } from '../../engine.js';
import type { IoBinding } from '../runtime/io-binding.js';
import type { Session } from '../runtime/session.js';

/** The runs of one step after another, any of which may be given up: while it is under way, or before. */
export class AbortableRuns {
  #session: Session | undefined;
  #isGivenUp = false;

  /** Begins the runs of another step. */
  begin(): void {
    this.#isGivenUp = false;
  }

  /** @throws EngineError 'compute' when computing fails, or the step is given up */
  async run(binding: IoBinding): Promise<void> {
    if (this.#isGivenUp) throw givenUp();
    this.#session = binding.session;
    try {
      await binding.run();
    } catch (error) {
      throw this.#isGivenUp ? givenUp(error) : error;
    } finally {
      this.#session = undefined;
    }
    if (this.#isGivenUp) throw givenUp();
  }

  /** Gives the step up. */
  abort(): void {
    this.#isGivenUp = true;
    this.#session?.abort();
  }
}

function givenUp(cause?: unknown): EngineError {
  return new EngineError('compute', 'onnx failed to compute a step: given up', { cause });
}
