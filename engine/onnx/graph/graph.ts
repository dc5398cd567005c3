import { elementType } from '../bindings.js';
import {
  encodeModel,
  type Attribute,
  type Dimension,
  type FilePart,
  type Initializer,
  type NodeInfo,
  type TensorInfoProto,
} from './model-proto.js';

/** An ONNX graph in the making. Tensors are known by their names. */
export class Graph {
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

  /** A tensor whose values are known; given twice, it is there once. */
  constant(
    name: string,
    type: number,
    shape: readonly number[],
    data: ArrayBufferView | FilePart,
  ): string {
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
    return `#${this.#names++}`;
  }

  encode(): Uint8Array {
    return encodeModel(this.#nodes, [...this.#initializers.values()], this.#inputs, this.#outputs);
  }
}
