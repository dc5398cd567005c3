import { Graph } from './graph/graph.js';
import { addProduct, blocksInfo, valuesInfo, type MatrixSizes } from './graph/product.js';
import { elementType } from './runtime/api.js';
import { fixed } from './runtime/fixed-arrays.js';
import { IoBinding } from './runtime/io-binding.js';
import { Session, type SessionOptions } from './runtime/session.js';
import { rowBytesOf, type MatrixFormat } from './weights/layout.js';

/** A matrix large enough for all kernels, and for its products to show how they round. */
const sizes = { inputSize: 256, outputSize: 64 };

/** What was found, by the bits of a format: a process runs on one kind of processor. */
const found = new Map<number, Promise<boolean>>();

/**
 * The least rows that steps are computed with, so that a row gets the same bits beside others: 2 where the processor has
 * another kernel for a single row, which rounds differently. (So it is for 4 bits on x64 without AVX-512.)
 * @param formats of the matrices that rows are multiplied with
 * @throws EngineError when that cannot be tried
 */
export async function leastProductRows(
  options: SessionOptions,
  formats: Iterable<MatrixFormat>,
): Promise<number> {
  for (const format of formats) {
    const differs = found.get(format.bits) ?? singleRowDiffers(options, format);
    found.set(format.bits, differs);
    if (await differs) return 2;
  }
  return 1;
}

/** Multiplies a row once by itself, and once beside another. */
async function singleRowDiffers(options: SessionOptions, format: MatrixFormat): Promise<boolean> {
  const model = await productModel({ ...sizes, format });
  await using session = await Session.open(options, model, { folder: '' });
  const rows = fixed.f32(2 * sizes.inputSize);
  rows.forEach((_, i) => (rows[i] = Math.sin(i % sizes.inputSize)));
  const products: Buffer[] = [];
  for (const count of [1, 2]) {
    const product = fixed.f32(count * sizes.outputSize);
    using binding = new IoBinding(session);
    binding.input('rows', rows, [1, count, sizes.inputSize]);
    binding.output('product', product, [1, count, sizes.outputSize]);
    await binding.run();
    products.push(Buffer.from(product.buffer, 0, 4 * sizes.outputSize));
  }
  const [alone, besideAnother] = products as [Buffer, Buffer];
  return !alone.equals(besideAnother);
}

/** A product with a matrix of numbers that are no more alike than a model's. */
function productModel(matrix: MatrixSizes): Promise<Uint8Array> {
  const { inputSize, outputSize, format } = matrix;
  const bytes = rowBytesOf(format, inputSize);
  const values = new Uint8Array(bytes.values * outputSize);
  const scales = new Float32Array((bytes.scales * outputSize) / 4);
  if (format.bits === 32)
    new Float32Array(values.buffer).forEach((_, i, all) => (all[i] = Math.cos(i)));
  else values.forEach((_, i) => (values[i] = (i * 2_654_435_761) >>> 13));
  scales.forEach((_, i) => (scales[i] = 1 + Math.sin(i) / 3));
  const graph = new Graph();
  graph.input('rows', elementType.f32, [1, 'n', inputSize]);
  const product = addProduct(
    graph,
    'rows',
    matrix,
    { name: 'values', ...valuesInfo(matrix), data: values },
    { name: 'scales', ...blocksInfo(matrix), data: scales },
  );
  graph.nodeWithOutputs('Identity', [product], ['product']);
  graph.output('product', elementType.f32, [1, 'n', outputSize]);
  return graph.encode();
}
