import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';
import { unsupportedOp, type GgmlDevice } from './devices.js';
import { StepGraph, type StageParts } from './step-graph.js';
import { shapeKey, type StepShape } from './step-shape.js';

/**
 * Segments of all graphs to keep: a conversation needs one per 256 cells of context, and a few for prefill and
 * verification.
 */
const capacity = 128;

/**
 * The graphs of a stage, by shape. They share one scratch memory, as only one computes at a time: it is sized for the
 * largest at load, and when a graph needs more, those before it lose their addresses and are built again.
 */
export class GraphCache implements Disposable {
  readonly #allocator: Pointer;
  /** By shape; the one that was used last comes last. */
  readonly #graphs = new Map<string, StepGraph>();
  #bytes = 0;

  constructor(
    private readonly ggml: Ggml,
    private readonly device: GgmlDevice,
    private readonly parts: StageParts,
  ) {
    this.#allocator = ggml.newAllocator(device.bufferType);
  }

  /** Scratch memory in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Sizes the scratch memory and checks that the device has every op.
   * @throws EngineError 'memory', or 'unsupported' when an op is missing
   */
  reserve(shape: StepShape): void {
    using graph = new StepGraph(this.ggml, this.parts, shape);
    this.#checkOps(graph.graph);
    if (!this.ggml.reserveGraph(this.#allocator, graph.graph)) throw this.#outOfMemory();
    this.#bytes = this.ggml.allocatorBytes(this.#allocator, 0);
  }

  /** The graph of a shape, ready for inputs. @throws EngineError 'memory' */
  get(shape: StepShape): StepGraph {
    const key = shapeKey(shape);
    let graph = this.#graphs.get(key);
    if (graph) this.#graphs.delete(key);
    else graph = this.#build(shape);
    this.#graphs.set(key, graph);
    return graph;
  }

  [Symbol.dispose](): void {
    this.#clear();
    this.ggml.freeAllocator(this.#allocator);
    this.#bytes = 0;
  }

  #build(shape: StepShape): StepGraph {
    const { ggml } = this;
    const graph = new StepGraph(ggml, this.parts, shape);
    const isAllocated = ggml.allocateGraph(this.#allocator, graph.graph);
    const bytes = ggml.allocatorBytes(this.#allocator, 0);
    // The memory of the graphs before is gone, also when there is none instead.
    if (bytes !== this.#bytes) this.#clear();
    this.#bytes = bytes;
    if (!isAllocated) {
      graph[Symbol.dispose]();
      throw this.#outOfMemory();
    }
    this.#makeRoom(shape.segments.length);
    return graph;
  }

  /** Those that were not used for long give way. */
  #makeRoom(segments: number): void {
    let kept = segments;
    for (const { shape } of this.#graphs.values()) kept += shape.segments.length;
    for (const [key, graph] of this.#graphs) {
      if (kept <= capacity) return;
      kept -= graph.shape.segments.length;
      this.#graphs.delete(key);
      graph[Symbol.dispose]();
    }
  }

  #clear(): void {
    for (const graph of this.#graphs.values()) graph[Symbol.dispose]();
    this.#graphs.clear();
  }

  #checkOps(graph: Pointer): void {
    const { ggml, device } = this;
    const op = unsupportedOp(ggml, device, graph);
    if (op !== undefined)
      throw new EngineError(
        'unsupported',
        `${device.name} cannot compute ${op} for this model: use --device cpu or --kv-type f16`,
      );
  }

  #outOfMemory(): EngineError {
    return new EngineError(
      'memory',
      `not enough memory on ${this.device.name} for computing: use a smaller --chunk, a smaller --context or fewer layers`,
    );
  }
}
