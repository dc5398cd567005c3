import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';

/** Tensors that are allocated together in one buffer type and live as long as the stage. */
export class TensorArena implements Disposable {
  readonly context: Pointer;
  #buffer: Pointer | undefined;

  constructor(
    private readonly ggml: Ggml,
    private readonly bufferType: Pointer,
    tensors: number,
  ) {
    this.context = ggml.newContext((tensors + 1) * ggml.tensorOverhead());
  }

  /**
   * Gives every tensor of the context its memory.
   * @throws EngineError 'memory' when there is not enough
   */
  allocate(purpose: string): Pointer {
    const buffer = this.ggml.allocateTensors(this.context, this.bufferType);
    if (!buffer)
      throw new EngineError(
        'memory',
        `not enough memory in ${this.ggml.bufferTypeName(this.bufferType)} for the ${purpose}: give this stage fewer layers (--layers) or a smaller --context`,
      );
    this.#buffer = buffer;
    return buffer;
  }

  /** Allocated memory in bytes. */
  get bytes(): number {
    return this.#buffer === undefined ? 0 : this.ggml.bufferBytes(this.#buffer);
  }

  [Symbol.dispose](): void {
    if (this.#buffer !== undefined) this.ggml.freeBuffer(this.#buffer);
    this.#buffer = undefined;
    this.ggml.freeContext(this.context);
  }
}
