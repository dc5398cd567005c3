import type { Ggml, Pointer } from './bindings.js';
import { tensorType } from './bindings.js';
import type { Backend } from './backend.js';
import { EngineError } from '../engine.js';

/**
 * Looks token ids up in the embedding table, on the CPU whatever the stage's device: tables are large, of every
 * quantization, and only a few rows are read.
 */
export class EmbeddingGraph implements Disposable {
  readonly #context: Pointer;
  readonly #graph: Pointer;
  readonly #ids: Pointer;
  readonly #rows: Pointer;
  readonly #allocator: Pointer;

  /** @param table [hiddenSize, vocabulary] in CPU memory. @throws EngineError when memory is short. */
  constructor(
    private readonly ggml: Ggml,
    private readonly cpu: Backend,
    table: Pointer,
    readonly tokens: number,
  ) {
    const nodes = 8;
    this.#context = ggml.newContext(
      nodes * ggml.tensorOverhead() + ggml.graphOverhead(nodes, false),
    );
    this.#ids = ggml.newTensor1d(this.#context, tensorType.i32, tokens);
    ggml.setInput(this.#ids);
    this.#rows = ggml.getRows(this.#context, table, this.#ids);
    ggml.setOutput(this.#rows);
    this.#graph = ggml.newGraph(this.#context, nodes, false);
    ggml.expand(this.#graph, this.#rows);
    this.#allocator = ggml.newAllocator(cpu.device.bufferType);
    if (!ggml.allocateGraph(this.#allocator, this.#graph))
      throw new EngineError('not enough memory for the embedding: use a smaller --chunk');
  }

  /** @param ids [n] token ids @param into [n, hiddenSize] f32, row-major */
  lookUp(ids: Int32Array, into: Float32Array): void {
    this.ggml.tensorSet(this.#ids, ids, 0, ids.byteLength);
    this.cpu.computeNow(this.#graph);
    this.ggml.tensorGet(this.#rows, into, 0, into.byteLength);
  }

  [Symbol.dispose](): void {
    this.ggml.freeAllocator(this.#allocator);
    this.ggml.freeContext(this.#context);
  }
}
