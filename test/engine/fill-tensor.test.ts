import koffi from 'koffi';
import { expect, test } from 'vitest';
import { bindGgml } from '../../engine/ggml/bindings.js';
import { cpuDevice, listDevices } from '../../engine/ggml/devices.js';
import { fillTensor } from '../../engine/ggml/fill-tensor.js';
import { describe as describeTensor } from '../../engine/ggml/placed-tensor.js';
import { TensorArena } from '../../engine/ggml/tensor-arena.js';
import { tensorBytes, tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import type { TensorInfo, TensorSource } from '../../model/tensor-source.js';
import { tinyModel } from '../support/tiny-model.js';

const ggml = bindGgml('default');
const { weightBufferTypes } = cpuDevice(listDevices(ggml));

/** Larger than what is filled at a time. */
const shapes = [
  [1024, 20_000],
  [512, 576, 64],
];

/** The memory of a tensor, and how many parts it was filled in. */
async function filled(tensor: TensorInfo, bufferType: bigint, atOnce: boolean) {
  using arena = new TensorArena(ggml, bufferType, 1);
  const pointer = describeTensor(ggml, arena.context, tensor);
  arena.allocate('tensor');
  const buffer = ggml.bufferTypeName(bufferType);
  const data = Buffer.alloc(tensor.bytes);
  for (let i = 0; i < data.length; i += 4) data.writeUInt32LE(Math.imul(i, 2_654_435_761) >>> 0, i);
  let parts = 0;
  const source: TensorSource = {
    ...tinyModel('f32'),
    read: (_, offset, into) => {
      into.set(data.subarray(offset, offset + into.byteLength));
      return Promise.resolve();
    },
  };
  if (atOnce) ggml.tensorSet(pointer, data, 0, data.byteLength);
  else
    await fillTensor(ggml, source, { tensor, use: 'matrix', pointer, buffer }, () => void parts++);
  const memory = koffi.view(ggml.tensorData(pointer), tensor.bytes);
  return { memory: Buffer.from(memory.slice(0)), parts };
}

test.each(
  shapes.flatMap((shape) =>
    weightBufferTypes
      .map((type) => ({ shape, type, buffer: ggml.bufferTypeName(type) }))
      // Its layout is larger than the tensor.
      .filter(({ buffer }) => buffer !== 'AMX'),
  ),
)('$shape in $buffer is filled in parts as it is at once', async ({ shape, type }) => {
  const q4 = tensorTypeNamed('q4_0');
  const tensor = { name: 'matrix', shape, type: q4, bytes: tensorBytes(q4, shape) };
  const inParts = await filled(tensor, type, false);
  const atOnce = await filled(tensor, type, true);
  expect(inParts.parts).toBeGreaterThan(1);
  expect(inParts.memory.equals(atOnce.memory)).toBe(true);
});
