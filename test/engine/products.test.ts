import { expect, test } from 'vitest';
import { Backend } from '../../engine/ggml/backend.js';
import { bindGgml, tensorType } from '../../engine/ggml/bindings.js';
import { cpuDevice, listDevices } from '../../engine/ggml/devices.js';
import { multiply, ways, type Way } from '../../engine/ggml/product-ways.js';
import { fewRows } from '../../step/tiles.js';
import { SmallGraph } from '../../engine/ggml/small-graph.js';
import { TensorArena } from '../../engine/ggml/tensor-arena.js';
import { relativeError } from '../support/relative-error.js';
import { Random } from '../support/random.js';

const ggml = bindGgml('default');
const cpu = cpuDevice(listDevices(ggml));
const [columns, outputs] = [96, 40];
const random = new Random(2);
const values = (count: number) => Float32Array.from({ length: count }, () => random.share() - 0.5);

test.each(ways)('%s, few rows are multiplied with a matrix', (way) => {
  using arena = new TensorArena(ggml, cpu.bufferType, 1);
  const matrix = ggml.newTensor2d(arena.context, tensorType.f32, columns, outputs);
  arena.allocate('matrix');
  const weights = values(columns * outputs);
  ggml.tensorSet(matrix, weights, 0, weights.byteLength);
  using backend = new Backend(ggml, cpu, 1);
  const inputs = values(columns * fewRows);

  const product = (first: number, rows: number, by: Way) => {
    using graph = new SmallGraph(ggml, cpu, (context) => {
      const input = ggml.newTensor2d(context, tensorType.f32, columns, rows);
      return { input, result: multiply(ggml, context, matrix, input, { few: by, multiple: 1 }) };
    });
    graph.setInput(inputs.subarray(first * columns, (first + rows) * columns));
    backend.computeNow(graph.graph);
    const result = new Float32Array(rows * outputs);
    graph.getResult(result);
    return result;
  };

  const expected = Float32Array.from({ length: fewRows * outputs }, (_, i) => {
    const [row, output] = [Math.floor(i / outputs), i % outputs];
    let sum = 0;
    for (let j = 0; j < columns; j++)
      sum += inputs[row * columns + j]! * weights[output * columns + j]!;
    return sum;
  });
  for (let rows = 1; rows <= fewRows; rows++) {
    const given = product(0, rows, way);
    expect(relativeError(given, expected.subarray(0, rows * outputs))).toBeLessThan(1e-6);
    // Together, the kernel for several rows of f32 rounds in a way of its own on some processors.
    if (way === 'together') continue;
    for (let row = 0; row < rows; row++)
      expect(given.slice(row * outputs, (row + 1) * outputs)).toEqual(product(row, 1, 'together'));
  }
});
