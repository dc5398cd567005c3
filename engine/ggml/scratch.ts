import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';
import type { GgmlDevice } from './devices.js';

/**
 * Memory that graphs share of which one is used at a time. It grows when one needs more, and those before it lose their
 * addresses.
 */
export class Scratch implements Disposable {
  #allocator: Pointer | undefined;
  #bytes = 0;

  /** @param onMoved what was allocated before has no memory any more */
  constructor(
    private readonly ggml: Ggml,
    private readonly device: GgmlDevice,
    private readonly onMoved: () => void,
  ) {}

  get bytes(): number {
    return this.#bytes;
  }

  /** Sees to it that there is enough for a graph. @throws EngineError 'memory' */
  reserve(graph: Pointer): void {
    const allocator = this.#open();
    this.#grow(allocator, this.ggml.reserveGraph(allocator, graph));
  }

  /** Gives a graph's tensors their addresses, as far as they have none. @throws EngineError 'memory' */
  allocate(graph: Pointer): void {
    const allocator = this.#open();
    this.#grow(allocator, this.ggml.allocateGraph(allocator, graph));
  }

  [Symbol.dispose](): void {
    if (this.#allocator !== undefined) this.ggml.freeAllocator(this.#allocator);
    this.#allocator = undefined;
    this.#bytes = 0;
  }

  #open(): Pointer {
    return (this.#allocator ??= this.ggml.newAllocator(this.device.bufferType));
  }

  #grow(allocator: Pointer, isEnough: boolean): void {
    const bytes = this.ggml.allocatorBytes(allocator, 0);
    // The memory before is gone, also when there is none instead.
    if (bytes !== this.#bytes) this.onMoved();
    this.#bytes = bytes;
    if (!isEnough)
      throw new EngineError(
        'memory',
        `not enough memory on ${this.device.name} for computing: use a smaller --chunk, a smaller --context or fewer layers`,
      );
  }
}
