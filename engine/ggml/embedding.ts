import { rowsOfStep, type Segment } from '../../step/step.js';
import type { Backend } from './backend.js';
import { tensorType, type Ggml } from './bindings.js';
import { SmallGraph } from './small-graph.js';
import type { Weights } from './weights.js';

/** Graphs to keep: decoding uses one size, verification and prefill a few. */
const capacity = 16;

/**
 * Looks token ids up in the embedding table, on the CPU whatever the stage's device: tables are large, of every
 * quantization, and only a few rows are read.
 */
export class Embedding implements Disposable {
  /** By the number of tokens. */
  readonly #graphs = new Map<number, SmallGraph>();

  constructor(
    private readonly ggml: Ggml,
    private readonly cpu: Backend,
    private readonly weights: Weights,
  ) {}

  /**
   * @param into [rows, hiddenSize] f32, row-major: the tokens of all segments
   * @throws EngineError 'memory', 'compute'
   */
  lookUp(segments: readonly Segment[], into: Float32Array): void {
    const graph = this.#graph(rowsOfStep({ segments }));
    let offset = 0;
    for (const { tokens } of segments) {
      graph.setInput(tokens, offset);
      offset += tokens.byteLength;
    }
    this.cpu.computeNow(graph.graph);
    graph.getResult(into);
  }

  [Symbol.dispose](): void {
    for (const graph of this.#graphs.values()) graph[Symbol.dispose]();
    this.#graphs.clear();
  }

  #graph(rows: number): SmallGraph {
    const found = this.#graphs.get(rows);
    if (found) return found;
    if (this.#graphs.size >= capacity) this[Symbol.dispose]();
    const { ggml } = this;
    const graph = new SmallGraph(ggml, this.cpu.device, (context) => {
      const input = ggml.newTensor1d(context, tensorType.i32, rows);
      return { input, result: ggml.getRows(context, this.weights.embedding, input) };
    });
    this.#graphs.set(rows, graph);
    return graph;
  }
}
