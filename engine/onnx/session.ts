import { EngineError } from '../engine.js';
import { asPromise, type OnnxRuntime, type Pointer } from './bindings.js';
import type { Provider } from './providers.js';

/** What sessions of an engine have in common. */
export interface SessionOptions {
  readonly runtime: OnnxRuntime;
  readonly provider: Provider;
  readonly threads: number;
}

/** A model that is ready to run. Runs do not overlap. */
export class Session implements Disposable {
  readonly #runOptions: Pointer;
  #isRunning = false;
  #isAborted = false;

  private constructor(
    readonly runtime: OnnxRuntime,
    readonly provider: Provider,
    readonly pointer: Pointer,
  ) {
    this.#runOptions = runtime.newRunOptions();
  }

  /**
   * Loads a model off the event loop.
   * @param folder where the files are that the model refers to
   * @throws EngineError for a model or a provider that cannot be used
   */
  static async open(options: SessionOptions, model: Uint8Array, folder: string): Promise<Session> {
    const { runtime, provider, threads } = options;
    const settings = runtime.newSessionOptions(threads);
    try {
      runtime.addConfig(settings, 'session.model_external_initializers_file_folder_path', folder);
      // Between steps other stages want the cores.
      runtime.addConfig(settings, 'session.force_spinning_stop', '1');
      provider.addTo(runtime, settings);
      return new Session(runtime, provider, await runtime.newSession(model, settings));
    } finally {
      runtime.releaseSessionOptions(settings);
    }
  }

  /** Runs the model on what is bound, off the event loop. @throws EngineError when it fails, or `abort` was called */
  async run(binding: Pointer): Promise<void> {
    const { runtime } = this;
    this.#isRunning = true;
    try {
      const status = await asPromise<Pointer | null>((done) =>
        runtime.run.async(this.pointer, this.#runOptions, binding, done),
      );
      if (status && this.#isAborted) {
        runtime.releaseStatus(status);
        throw new EngineError(`${this.provider.name} failed to compute a step: given up`);
      }
      runtime.check(status, 'compute a step');
    } finally {
      this.#isRunning = false;
      if (this.#isAborted) runtime.terminate(this.#runOptions, false);
      this.#isAborted = false;
    }
  }

  /** Gives up the run under way, if there is one: `run` then throws. */
  abort(): void {
    if (!this.#isRunning) return;
    this.#isAborted = true;
    this.runtime.terminate(this.#runOptions, true);
  }

  [Symbol.dispose](): void {
    this.runtime.releaseRunOptions(this.#runOptions);
    this.runtime.releaseSession(this.pointer);
  }
}
