import { readModel } from '../../model/architectures/model.js';
import { embeddingTensor, headTensor } from '../../model/shard-tensors.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { F64Graph, rowCount, type Rows } from './f64-graph.js';

/**
 * Log-probabilities of every token after the last tokens of a text, computed in f64.
 * @param source a model whose tensors are all f32
 * @param last how many of the text's tokens
 * @returns [last] arrays of [vocabulary]
 */
export async function f64LogProbabilities(
  source: TensorSource,
  text: readonly number[],
  last: number,
): Promise<Float64Array[]> {
  const { decoder, graph, hidden } = await computeLayers(source, text);
  const { width } = hidden;
  const end = { values: hidden.values.subarray((rowCount(hidden) - last) * width), width };
  const logits = decoder.head(graph, end);
  return Array.from({ length: last }, (_, row) =>
    logSoftmax(logits.values.subarray(row * logits.width, (row + 1) * logits.width)),
  );
}

/** The experts that every token of a text goes through, in each layer with experts; computed in f64. */
export async function f64Routings(
  source: TensorSource,
  text: readonly number[],
): Promise<F64Graph['routings']> {
  const { graph } = await computeLayers(source, text);
  return graph.routings;
}

async function computeLayers(source: TensorSource, text: readonly number[]) {
  const { decoder, sizes } = readModel(source);
  const weights = await readWeights(source);
  const graph = new F64Graph(weights, headTensor(source.tensors));
  const width = sizes.hiddenSize;
  let hidden: Rows = { values: new Float64Array(text.length * width), width };
  const table = weights(embeddingTensor);
  text.forEach((token, row) =>
    hidden.values.set(table.subarray(token * width, (token + 1) * width), row * width),
  );
  for (let layer = 0; layer < sizes.layers; layer++) hidden = decoder.layer(graph, layer, hidden);
  return { decoder, graph, hidden };
}

/** In f64, whatever the logits are in. @returns natural logarithms of probabilities */
export function logSoftmax(logits: Float64Array | Float32Array): Float64Array {
  const values = Float64Array.from(logits);
  const highest = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const sum = values.reduce((total, value) => total + Math.exp(value - highest), 0);
  return values.map((value) => value - highest - Math.log(sum));
}

async function readWeights(source: TensorSource): Promise<(name: string) => Float32Array> {
  const read = new Map<string, Float32Array>();
  for (const { name, type, bytes } of source.tensors.values()) {
    if (type.name !== 'f32') throw new Error(`${name} is ${type.name}, not f32`);
    const values = new Float32Array(bytes / Float32Array.BYTES_PER_ELEMENT);
    await source.read(name, 0, new Uint8Array(values.buffer));
    read.set(name, values);
  }
  return (name) => {
    const values = read.get(name);
    if (!values) throw new Error(`no tensor ${name}`);
    return values;
  };
}
