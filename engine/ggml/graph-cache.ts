import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';
import type { GgmlDevice } from './devices.js';
import { StepGraph, type StageParts, type StepShape } from './step-graph.js';

/** Graphs to keep: a conversation needs one per 256 cells of context, and a few for prefill and verification. */
const capacity = 64;

/**
 * The graphs of a stage, by shape. They share one scratch memory, as only one computes at a time: it is sized for the
 * largest at load, and when a graph needs more, those before it lose their addresses and are built again.
 */
export class GraphCache implements Disposable {
  readonly #allocator: Pointer;
  readonly #graphs = new Map<string, StepGraph>();

  constructor(
    private readonly ggml: Ggml,
    private readonly device: GgmlDevice,
    private readonly parts: StageParts,
  ) {
    this.#allocator = ggml.newAllocator(device.bufferType);
  }

  /** Scratch memory in bytes. */
  get bytes(): number {
    return this.ggml.allocatorBytes(this.#allocator, 0);
  }

  /**
   * Sizes the scratch memory and checks that the device has every op.
   * @throws EngineError when memory is short or an op is missing.
   */
  reserve(shape: StepShape): void {
    using graph = new StepGraph(this.ggml, this.parts, shape);
    this.#checkOps(graph.graph);
    if (!this.ggml.reserveGraph(this.#allocator, graph.graph)) throw this.#outOfMemory();
  }

  /** The graph of a shape, ready for inputs. @throws EngineError when memory is short. */
  get(shape: StepShape): StepGraph {
    const key = `${shape.tokens} ${shape.outputs} ${shape.windowStart} ${shape.windowLength} ${shape.head}`;
    let graph = this.#graphs.get(key);
    if (graph) this.#graphs.delete(key);
    else graph = this.#build(shape);
    this.#graphs.set(key, graph);
    return graph;
  }

  [Symbol.dispose](): void {
    this.#clear();
    this.ggml.freeAllocator(this.#allocator);
  }

  #build(shape: StepShape): StepGraph {
    const before = this.bytes;
    const graph = new StepGraph(this.ggml, this.parts, shape);
    if (!this.ggml.allocateGraph(this.#allocator, graph.graph)) {
      graph[Symbol.dispose]();
      throw this.#outOfMemory();
    }
    if (this.bytes !== before) this.#clear();
    const oldest = this.#graphs.entries().next().value;
    if (oldest && this.#graphs.size >= capacity) {
      this.#graphs.delete(oldest[0]);
      oldest[1][Symbol.dispose]();
    }
    return graph;
  }

  #clear(): void {
    for (const graph of this.#graphs.values()) graph[Symbol.dispose]();
    this.#graphs.clear();
  }

  #checkOps(graph: Pointer): void {
    const { ggml, device } = this;
    for (let i = 0; i < ggml.graphNodes(graph); i++) {
      const node = ggml.graphNode(graph, i);
      if (!ggml.deviceSupports(device.pointer, node))
        throw new EngineError(
          `${device.name} cannot compute ${ggml.opDescription(node)} for this model: use --device cpu or --kv-type f16`,
        );
    }
  }

  #outOfMemory(): EngineError {
    return new EngineError(
      `not enough memory on ${this.device.name} for computing: use a smaller --chunk, a smaller --context or fewer layers`,
    );
  }
}
