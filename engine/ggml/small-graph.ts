import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';
import type { GgmlDevice } from './devices.js';

/** Tensors and ops that a graph may have, unless it says so itself. */
const fewNodes = 64;

/** A graph of a few ops that is computed once or twice, in scratch memory of its own. */
export class SmallGraph implements Disposable {
  readonly graph: Pointer;
  readonly #context: Pointer;
  readonly #input: Pointer;
  readonly #result: Pointer;
  #allocator: Pointer | undefined;

  /**
   * @param build makes the input, and the result from it; what else is to be computed it adds to the graph
   * @param nodes upper bound for the tensors and ops
   * @throws EngineError 'memory'
   */
  constructor(
    private readonly ggml: Ggml,
    device: GgmlDevice,
    build: (
      context: Pointer,
      graph: Pointer,
    ) => { readonly input: Pointer; readonly result: Pointer },
    nodes = fewNodes,
  ) {
    this.#context = ggml.newContext(
      nodes * ggml.tensorOverhead() + ggml.graphOverhead(nodes, false),
    );
    try {
      this.graph = ggml.newGraph(this.#context, nodes, false);
      const { input, result } = build(this.#context, this.graph);
      this.#input = input;
      this.#result = result;
      ggml.setInput(input);
      ggml.setOutput(result);
      ggml.expand(this.graph, result);
      this.#allocator = ggml.newAllocator(device.bufferType);
      if (!ggml.allocateGraph(this.#allocator, this.graph))
        throw new EngineError(
          'memory',
          `not enough memory on ${device.name} for computing: use a smaller --chunk`,
        );
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** @param offset bytes from the input's beginning */
  setInput(values: ArrayBufferView, offset = 0): void {
    this.ggml.tensorSet(this.#input, values, offset, values.byteLength);
  }

  getResult(into: ArrayBufferView): void {
    this.ggml.tensorGet(this.#result, into, 0, into.byteLength);
  }

  [Symbol.dispose](): void {
    if (this.#allocator !== undefined) this.ggml.freeAllocator(this.#allocator);
    this.ggml.freeContext(this.#context);
  }
}
