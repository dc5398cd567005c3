import { fewRows } from '../../step/tiles.js';
import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';
import { unsupportedOp, type GgmlDevice } from './devices.js';
import { Scratch } from './scratch.js';
import type { StageParts } from './stage-parts.js';
import { StepGraph, type LayerRange } from './step-graph.js';
import { StepInputs } from './step-inputs.js';
import { rowsOfShape, shapeKey, type StepShape } from './step-shape.js';

/**
 * Segments of all shapes to keep: a conversation needs one per 256 cells of context, and a few for prefill and
 * verification.
 */
const capacity = 128;

/** What steps of a shape are computed with. */
export interface ShapeGraphs {
  readonly shape: StepShape;
  readonly inputs: StepInputs;
  /** By the layers that they compute. */
  readonly graphs: Map<string, StepGraph>;
}

/**
 * The graphs of a stage, by shape. All share one scratch memory, as only one computes at a time: it is sized for the
 * largest at load, and when a graph needs more, those before it are built again. What goes from one graph of a step to
 * its next is in the inputs, which short steps and long ones have in memory of their own: short steps are computed while a
 * long one is under way.
 */
export class GraphCache implements Disposable {
  /** The one that was used last comes last. */
  readonly #shapes = new Map<string, ShapeGraphs>();
  readonly #scratch: Scratch;
  readonly #inputs: { readonly short: Scratch; readonly long: Scratch };

  constructor(
    private readonly ggml: Ggml,
    private readonly device: GgmlDevice,
    private readonly parts: StageParts,
  ) {
    const inputsOf = (short: boolean) =>
      new Scratch(ggml, device, () => this.#forget((shape) => isShort(shape) === short));
    this.#scratch = new Scratch(ggml, device, () => this.#forgetGraphs());
    this.#inputs = { short: inputsOf(true), long: inputsOf(false) };
  }

  /** Memory in bytes, beside weights and what is kept of texts. */
  get bytes(): number {
    return this.#scratch.bytes + this.#inputs.short.bytes + this.#inputs.long.bytes;
  }

  /**
   * Sizes the memory for a shape and checks that the device has every op.
   * @throws EngineError 'memory', or 'unsupported' when an op is missing
   */
  reserve(shape: StepShape): void {
    using inputs = this.#newInputs(shape);
    using graph = new StepGraph(this.ggml, this.parts, inputs, this.#allLayers, shape.head);
    this.#checkOps(graph.graph);
    this.#scratch.reserve(graph.graph);
  }

  /** What steps of a shape are computed with, ready for inputs. @throws EngineError 'memory' */
  get(shape: StepShape): ShapeGraphs {
    const key = shapeKey(shape);
    const found = this.#shapes.get(key);
    this.#shapes.delete(key);
    const graphs = found ?? { shape, inputs: this.#newInputs(shape), graphs: new Map() };
    this.#shapes.set(key, graphs);
    if (!found) this.#makeRoom();
    return graphs;
  }

  /** The graph of some layers. @throws EngineError 'memory' */
  graph({ shape, inputs, graphs }: ShapeGraphs, layers: LayerRange): StepGraph {
    const key = `${layers.first} ${layers.end}`;
    let graph = graphs.get(key);
    if (graph) return graph;
    graph = new StepGraph(this.ggml, this.parts, inputs, layers, shape.head);
    try {
      this.#scratch.allocate(graph.graph);
    } catch (error) {
      graph[Symbol.dispose]();
      throw error;
    }
    graphs.set(key, graph);
    return graph;
  }

  [Symbol.dispose](): void {
    this.#forget(() => true);
    for (const memory of [this.#scratch, this.#inputs.short, this.#inputs.long])
      memory[Symbol.dispose]();
  }

  get #allLayers(): LayerRange {
    const { firstLayer: first, endLayer: end } = this.parts.shard;
    return { first, end };
  }

  #newInputs(shape: StepShape): StepInputs {
    const inputs = new StepInputs(this.ggml, this.parts, shape);
    try {
      inputs.allocate(isShort(shape) ? this.#inputs.short : this.#inputs.long);
      return inputs;
    } catch (error) {
      inputs[Symbol.dispose]();
      throw error;
    }
  }

  /** Those that were not used for long give way. */
  #makeRoom(): void {
    let kept = 0;
    for (const { shape } of this.#shapes.values()) kept += shape.segments.length;
    const [...oldest] = this.#shapes.values();
    for (const { shape } of oldest.slice(0, -1)) {
      if (kept <= capacity) return;
      kept -= shape.segments.length;
      this.#forget((other) => other === shape);
    }
  }

  #forget(which: (shape: StepShape) => boolean): void {
    for (const [key, shape] of this.#shapes) {
      if (!which(shape.shape)) continue;
      this.#shapes.delete(key);
      freeGraphs(shape);
      shape.inputs[Symbol.dispose]();
    }
  }

  #forgetGraphs(): void {
    for (const shape of this.#shapes.values()) freeGraphs(shape);
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
}

function freeGraphs({ graphs }: ShapeGraphs): void {
  for (const graph of graphs.values()) graph[Symbol.dispose]();
  graphs.clear();
}

function isShort(shape: StepShape): boolean {
  return rowsOfShape(shape) <= fewRows;
}
