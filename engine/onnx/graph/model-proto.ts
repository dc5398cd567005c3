import { setImmediate } from 'node:timers/promises';
import protobuf from 'protobufjs';

/** The part of ONNX's model format (onnx.proto) that the engine writes. */
const schema = `
syntax = "proto3";
package onnx;

message ModelProto {
  int64 ir_version = 1;
  GraphProto graph = 7;
  repeated OperatorSetIdProto opset_import = 8;
}
message OperatorSetIdProto {
  string domain = 1;
  int64 version = 2;
}
message GraphProto {
  repeated NodeProto node = 1;
  string name = 2;
  repeated TensorProto initializer = 5;
  repeated ValueInfoProto input = 11;
  repeated ValueInfoProto output = 12;
}
message NodeProto {
  repeated string input = 1;
  repeated string output = 2;
  string name = 3;
  string op_type = 4;
  repeated AttributeProto attribute = 5;
  string domain = 7;
}
message AttributeProto {
  string name = 1;
  float f = 2;
  int64 i = 3;
  bytes s = 4;
  GraphProto g = 6;
  repeated int64 ints = 8;
  int32 type = 20;
}
message TensorProto {
  repeated int64 dims = 1;
  int32 data_type = 2;
  string name = 8;
  bytes raw_data = 9;
  repeated StringStringEntryProto external_data = 13;
  int32 data_location = 14;
}
message StringStringEntryProto {
  string key = 1;
  string value = 2;
}
message ValueInfoProto {
  string name = 1;
  TypeProto type = 2;
}
message TypeProto {
  TypeProtoTensor tensor_type = 1;
}
message TypeProtoTensor {
  int32 elem_type = 1;
  TensorShapeProto shape = 2;
}
message TensorShapeProto {
  repeated Dimension dim = 1;
}
message Dimension {
  oneof value {
    int64 dim_value = 1;
    string dim_param = 2;
  }
}`;

const modelType = protobuf.parse(schema, { keepCase: true }).root.lookupType('onnx.ModelProto');

/** The versions of format and ops that models are written in. */
const irVersion = 10;
const opsetVersion = 21;

/** Values of AttributeProto.AttributeType, and of TensorProto.DataLocation. */
const attributeType = { float: 1, int: 2, string: 3, graph: 5, ints: 7 } as const;
const externalLocation = 1;

/** Where ONNX Runtime's own ops live. */
export const microsoft = 'com.microsoft';

/** An attribute of a node: whole numbers, a fraction, a word, or a graph within the graph. */
export type Attribute =
  number | string | readonly number[] | { readonly float: number } | { readonly graph: GraphInfo };

/** A dimension is a number, or a name where it differs from run to run. */
export type Dimension = number | string;

export interface TensorInfoProto {
  readonly name: string;
  readonly type: number;
  readonly shape: readonly Dimension[];
}

export interface NodeInfo {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A tensor's data: within the model, or a part of a file beside it. */
export interface Initializer {
  readonly name: string;
  readonly type: number;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | FilePart;
}

/** A part of a file, in bytes. */
export interface FilePart {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

/** What a graph consists of. */
export interface GraphInfo {
  readonly nodes: readonly NodeInfo[];
  readonly initializers: readonly Initializer[];
  readonly inputs: readonly TensorInfoProto[];
  readonly outputs: readonly TensorInfoProto[];
}

/** Nodes that are written at a time. */
const nodesPerPiece = 200;

/**
 * Writes a model as protobuf. What is written of a message in several pieces is one message, so that others get their
 * turn in between.
 */
export async function encodeModel({ nodes, ...rest }: GraphInfo): Promise<Uint8Array> {
  const pieces = [
    encode({
      ir_version: irVersion,
      opset_import: [
        { domain: '', version: opsetVersion },
        { domain: microsoft, version: 1 },
      ],
      graph: graphProto({ nodes: [], ...rest }),
    }),
  ];
  for (let first = 0; first < nodes.length; first += nodesPerPiece) {
    await setImmediate();
    const piece = nodes.slice(first, first + nodesPerPiece);
    pieces.push(encode({ graph: { node: piece.map((node, i) => nodeProto(node, first + i)) } }));
  }
  return Buffer.concat(pieces);
}

function encode(model: object): Uint8Array {
  return modelType.encode(model).finish();
}

function graphProto({ nodes, initializers, inputs, outputs }: GraphInfo): object {
  return {
    name: 'shard',
    node: nodes.map(nodeProto),
    initializer: initializers.map(tensorProto),
    input: inputs.map(valueInfo),
    output: outputs.map(valueInfo),
  };
}

function nodeProto({ op, domain, inputs, outputs, attributes }: NodeInfo, index: number) {
  return {
    op_type: op,
    domain,
    name: `${op} ${index}`,
    input: [...inputs],
    output: [...outputs],
    attribute: Object.entries(attributes).map(([name, value]) => ({
      name,
      ...attributeValue(value),
    })),
  };
}

function attributeValue(value: Attribute) {
  if (typeof value === 'number') return { i: value, type: attributeType.int };
  if (typeof value === 'string') return { s: Buffer.from(value), type: attributeType.string };
  if ('float' in value) return { f: value.float, type: attributeType.float };
  if ('graph' in value) return { g: graphProto(value.graph), type: attributeType.graph };
  return { ints: [...value], type: attributeType.ints };
}

function tensorProto({ name, type, shape, data }: Initializer) {
  const tensor = { name, data_type: type, dims: [...shape] };
  if ('file' in data)
    return {
      ...tensor,
      data_location: externalLocation,
      external_data: [
        { key: 'location', value: data.file },
        { key: 'offset', value: `${data.offset}` },
        { key: 'length', value: `${data.bytes}` },
      ],
    };
  return { ...tensor, raw_data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

function valueInfo({ name, type, shape }: TensorInfoProto) {
  const dim = shape.map((size) =>
    typeof size === 'number' ? { dim_value: size } : { dim_param: size },
  );
  return { name, type: { tensor_type: { elem_type: type, shape: { dim } } } };
}
