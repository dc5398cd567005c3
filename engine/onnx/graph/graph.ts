import { elementType } from '../bindings.js';
import {
  encodeModel,
  type Attribute,
  type Dimension,
  type FilePart,
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
   * @param whenTrue adds nodes to a graph @returns the names of as many outputs there
   * @param whenFalse as `whenTrue`
   */
  choose(
    condition: string,
    outputs: readonly TensorInfoProto[],
    whenTrue: (branch: Graph) => readonly string[],
    whenFalse: (branch: Graph) => readonly string[],
  ): void {
    const branch = (build: (branch: Graph) => readonly string[]) => {
      const graph = new Graph(this);
      build(graph).forEach((name, i) => graph.#outputs.push({ ...outputs[i]!, name }));
      return { graph: graph.#info };
    };
    const attributes = { then_branch: branch(whenTrue), else_branch: branch(whenFalse) };
    const names = outputs.map(({ name }) => name);
    this.nodeWithOutputs('If', [condition], names, attributes);
  }

  /** A tensor whose values are known; given twice, it is there once. */
  constant(
    name: string,
    type: number,
    shape: readonly number[],
    data: ArrayBufferView | FilePart,
  ): string {
    if (this.outer) return this.outer.constant(name, type, shape, data);
    this.#initializers.set(name, { name, type, shape, data });
    return name;
  }

  /** A small list of whole numbers, as shapes and axes are given. */
  list(values: readonly number[]): string {
    return this.constant(
      `[${values.join()}]`,
      elementType.i64,
      [values.length],
      BigInt64Array.from(values, BigInt),
    );
  }

  newName(): string {
    return this.outer?.newName() ?? `#${this.#names++}`;
  }

  encode(): Uint8Array {
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
