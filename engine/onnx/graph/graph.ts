import { elementType } from '../runtime/api.js';
import {
  encodeModel,
  type Attribute,
  type Dimension,
  type GraphInfo,
  type Initializer,
  type NodeInfo,
  type TensorInfoProto,
} from './model-proto.js';

/** An ONNX graph in the making. Tensors are known by their names. */
export class Graph {
  /** @param outer the graph that this one is a branch of: it has the constants, and names that differ */
  constructor(private readonly outer?: Graph) {}

  readonly #nodes: NodeInfo[] = [];
  readonly #initializers = new Map<string, Initializer>();
  readonly #inputs: TensorInfoProto[] = [];
  readonly #outputs: TensorInfoProto[] = [];
  #names = 0;

  input(name: string, type: number, shape: readonly Dimension[]): string {
    this.#inputs.push({ name, type, shape });
    return name;
  }

  output(name: string, type: number, shape: readonly Dimension[]): void {
    this.#outputs.push({ name, type, shape });
  }

  /** Adds a node with one output. @returns the output's name */
  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = '',
  ): string {
    const output = this.newName();
    this.nodeWithOutputs(op, inputs, [output], attributes, domain);
    return output;
  }

  /** Adds a node whose outputs have the given names; an empty one leaves an optional output out. */
  nodeWithOutputs(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = '',
  ): void {
    this.#nodes.push({ op, domain, inputs, outputs, attributes });
  }

  /**
   * Adds a node that computes one of two graphs, which see the tensors of this one.
   * @param condition bool [1]
   * @param outputs of the node
   * @param whenTrue adds nodes to a graph, where the outputs have the names given
   * @param whenFalse as `whenTrue`
   */
  choose(
    condition: string,
    outputs: readonly TensorInfoProto[],
    whenTrue: (branch: Graph, names: readonly string[]) => void,
    whenFalse: (branch: Graph, names: readonly string[]) => void,
  ): void {
    const branch = (build: typeof whenTrue) => {
      const graph = new Graph(this);
      const named = outputs.map((output) => ({ ...output, name: this.newName() }));
      graph.#outputs.push(...named);
      build(
        graph,
        named.map(({ name }) => name),
      );
      return { graph: graph.#info };
    };
    const attributes = { then_branch: branch(whenTrue), else_branch: branch(whenFalse) };
    const names = outputs.map(({ name }) => name);
    this.nodeWithOutputs('If', [condition], names, attributes);
  }

  /** Adds a tensor whose values are known; given twice, it is there once. @returns its name */
  add(initializer: Initializer): string {
    if (this.outer) return this.outer.add(initializer);
    this.#initializers.set(initializer.name, initializer);
    return initializer.name;
  }

  /** As `add`. */
  constant(name: string, type: number, shape: readonly number[], data: ArrayBufferView): string {
    return this.add({ name, type, shape, data });
  }

  /** A small list of whole numbers, as shapes and axes are given. */
  list(values: readonly number[]): string {
    if (this.outer) return this.outer.list(values);
    const name = `[${values.join()}]`;
    if (this.#initializers.has(name)) return name;
    return this.constant(
      name,
      elementType.i64,
      [values.length],
      BigInt64Array.from(values, BigInt),
    );
  }

  newName(): string {
    return this.outer?.newName() ?? `#${this.#names++}`;
  }

  encode(): Promise<Uint8Array> {
    return encodeModel(this.#info);
  }

  get #info(): GraphInfo {
    return {
      nodes: this.#nodes,
      initializers: [...this.#initializers.values()],
      inputs: this.#inputs,
      outputs: this.#outputs,
    };
  }
}
