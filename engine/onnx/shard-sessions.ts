import { EngineError } from '../engine.js';
import type { AttentionForm } from './graph/attention-form.js';
import { valuesOf } from './graph/product.js';
import { buildShardModel, type ShardParts } from './graph/shard-graph.js';
import { Session, type SessionOptions } from './runtime/session.js';
import { SharedWeights } from './runtime/shared-weights.js';

/** The sessions of a shard: graphs of several forms over the same weights. */
export class ShardSessions implements AsyncDisposable {
  readonly #sessions: Session[] = [];
  #shared: SharedWeights | undefined;

  /** @throws EngineError 'memory' when the weights' files cannot be mapped */
  constructor(
    private readonly options: SessionOptions,
    private readonly parts: ShardParts,
  ) {
    const { folder, matrices } = parts.weights;
    // ONNX Runtime shares the weights of its CPU kernels only.
    if (options.provider.kind === 'cpu')
      this.#shared = new SharedWeights(options.runtime, folder, matrices.map(valuesOf));
  }

  /** Whether sessions after the first have weights in common with it; otherwise each has its own. */
  get isSharing(): boolean {
    return this.#shared !== undefined;
  }

  /** @throws EngineError for a model that cannot be used, the signal's reason */
  async open(form: AttentionForm, signal?: AbortSignal): Promise<Session> {
    const model = await buildShardModel(this.parts, form);
    const session = await this.#openModel(model, signal);
    this.#sessions.push(session);
    return session;
  }

  /** Gives back memory off the event loop. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions.splice(0)) await session[Symbol.asyncDispose]();
    await this.#shared?.[Symbol.asyncDispose]();
  }

  async #openModel(model: Uint8Array, signal: AbortSignal | undefined): Promise<Session> {
    const { folder } = this.parts.weights;
    try {
      return await Session.open(this.options, model, { folder, shared: this.#shared }, signal);
    } catch (error) {
      // Kernels of other processors than those that were tried may have no part in sharing.
      const isRefused = error instanceof EngineError && error.code === 'unsupported';
      if (!isRefused || !this.#shared || this.#sessions.length > 0) throw error;
      await this.#shared[Symbol.asyncDispose]();
      this.#shared = undefined;
      return Session.open(this.options, model, { folder }, signal);
    }
  }
}
