import type { OnnxRuntime, Pointer } from './api.js';
import type { Provider } from '../providers.js';
import type { SharedWeights } from './shared-weights.js';

/** What sessions of an engine have in common. */
export interface SessionOptions {
  readonly runtime: OnnxRuntime;
  readonly provider: Provider;
  readonly threads: number;
}

/** Where the constants are that a model refers to. */
export interface SessionWeights {
  /** Folder of the files. */
  readonly folder: string;
  /** Those that sessions have in common. */
  readonly shared?: SharedWeights | undefined;
}

/** A model that is ready to run. Runs do not overlap. */
export class Session implements AsyncDisposable {
  #isRunning = false;
  #isAborted = false;

  private constructor(
    readonly runtime: OnnxRuntime,
    readonly provider: Provider,
    readonly pointer: Pointer,
    private readonly runOptions: Pointer,
  ) {}

  /**
   * Loads a model off the event loop.
   * @param signal gives up: the promise then rejects with its reason
   * @throws EngineError for a model or a provider that cannot be used
   */
  static async open(
    { runtime, provider, threads }: SessionOptions,
    model: Uint8Array,
    { folder, shared }: SessionWeights,
    signal?: AbortSignal,
  ): Promise<Session> {
    signal?.throwIfAborted();
    const settings = runtime.newSessionOptions(threads);
    const cancel = () => runtime.cancelLoading(settings);
    signal?.addEventListener('abort', cancel);
    try {
      runtime.addConfig(settings, 'session.model_external_initializers_file_folder_path', folder);
      // Between steps other stages want the cores.
      runtime.addConfig(settings, 'session.force_spinning_stop', '1');
      provider.addTo(runtime, settings);
      shared?.addTo(settings);
      const pointer = await runtime.newSession(model, settings, shared?.packed);
      await shared?.forget();
      return await Session.#of(runtime, provider, pointer, signal);
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', cancel);
      runtime.releaseSessionOptions(settings);
    }
  }

  /** Takes a session over, or releases it. */
  static async #of(
    runtime: OnnxRuntime,
    provider: Provider,
    pointer: Pointer,
    signal: AbortSignal | undefined,
  ): Promise<Session> {
    try {
      signal?.throwIfAborted();
      return new Session(runtime, provider, pointer, runtime.newRunOptions());
    } catch (error) {
      await runtime.releaseSession(pointer);
      throw error;
    }
  }

  /** Runs the model on what is bound, off the event loop. @throws EngineError 'compute' when it fails or is aborted */
  async run(binding: Pointer): Promise<void> {
    this.#isRunning = true;
    try {
      await this.runtime.run(this.pointer, this.runOptions, binding);
    } finally {
      this.#isRunning = false;
      // It must not end the next run.
      if (this.#isAborted) this.runtime.terminate(this.runOptions, false);
      this.#isAborted = false;
    }
  }

  /** Runs it on this thread, for what is too short to be worth another. @throws EngineError 'compute' when it fails */
  runNow(binding: Pointer): void {
    this.runtime.runNow(this.pointer, this.runOptions, binding);
  }

  /** Gives up the run under way, if there is one. */
  abort(): void {
    if (!this.#isRunning) return;
    this.#isAborted = true;
    this.runtime.terminate(this.runOptions, true);
  }

  /** Gives back the session's memory, off the event loop: there may be much of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.runtime.releaseRunOptions(this.runOptions);
    await this.runtime.releaseSession(this.pointer);
  }
}
