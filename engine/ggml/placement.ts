import type { ExpectedTensor, TensorUse } from '../../model/architectures/recorder.js';
import { embeddingTensor, hasTiedHead, tensorsOfShard } from '../../model/shard-tensors.js';
import type { TensorInfo, TensorSource } from '../../model/tensor-source.js';
import type { Shard } from '../../step/shard.js';
import { EngineError } from '../engine.js';
import { pretendBuffer, tensorType, type Ggml, type Pointer } from './bindings.js';
import type { GgmlDevice } from './devices.js';
import { describe } from './placed-tensor.js';

/** Where a tensor is to be. */
export interface Placement {
  readonly tensor: TensorInfo;
  readonly use: TensorUse;
  readonly bufferType: Pointer;
}

/**
 * Chooses the buffer type of every tensor that layers and head compute with.
 * @throws EngineError 'unsupported' when the device cannot multiply with one
 */
export function placeTensors(
  ggml: Ggml,
  source: TensorSource,
  shard: Shard,
  expected: ReadonlyMap<string, ExpectedTensor>,
  device: GgmlDevice,
): Placement[] {
  const emptyBuffers = new Map<Pointer, Pointer | null>();
  try {
    for (const type of device.weightBufferTypes)
      emptyBuffers.set(type, ggml.allocateBuffer(type, 0));
    return tensorsOfShard(source.tensors, shard)
      .filter(({ name }) => name !== embeddingTensor || hasTiedHead(source.tensors, shard))
      .map((tensor) => {
        const use = expected.get(tensor.name)?.use ?? 'numbers';
        const isMultiplied = (type: Pointer) =>
          canMultiply(ggml, device, tensor, use, emptyBuffers.get(type) ?? null);
        const bufferType =
          use === 'numbers'
            ? device.bufferType
            : (device.weightBufferTypes.find(isMultiplied) ?? unsupported(tensor, device));
        return { tensor, use, bufferType };
      });
  } finally {
    for (const buffer of emptyBuffers.values()) if (buffer) ggml.freeBuffer(buffer);
  }
}

function unsupported(tensor: TensorInfo, device: GgmlDevice): never {
  throw new EngineError(
    'unsupported',
    `unsupported quantization: ${device.name} cannot compute with ${tensor.type.name} (tensor ${tensor.name}): use --device cpu or another quantization`,
  );
}

/** Rows of the products that devices are asked about. */
const triedRows = 64;

/** Asks the device about a matrix multiplication with a weight of this kind in this kind of buffer. */
function canMultiply(
  ggml: Ggml,
  device: GgmlDevice,
  tensor: TensorInfo,
  use: TensorUse,
  buffer: Pointer | null,
): boolean {
  const context = ggml.newContext(ggml.tensorOverhead() * 4);
  try {
    const weight = describe(ggml, context, tensor);
    const [columns = 1, , planes = 1] = tensor.shape;
    const product =
      use === 'matrices of experts'
        ? ggml.mulMatId(
            context,
            weight,
            ggml.newTensor3d(context, tensorType.f32, columns, 1, triedRows),
            ggml.newTensor2d(context, tensorType.i32, 1, triedRows),
          )
        : ggml.mulMat(
            context,
            weight,
            ggml.newTensor3d(context, tensorType.f32, columns, triedRows, planes),
          );
    pretendBuffer(weight, buffer);
    return ggml.deviceSupports(device.pointer, product);
  } finally {
    ggml.freeContext(context);
  }
}
