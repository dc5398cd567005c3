import { promisify } from 'node:util';
import {
  embeddingTensor,
  outputNormTensor,
  tensorsOfShard,
  type Shard,
} from '../../model/shard.js';
import type { TensorInfo, TensorSource } from '../../model/tensor-source.js';
import { EngineError } from '../engine.js';
import {
  pretendBuffer,
  tensorBuffer,
  tensorType,
  usageWeights,
  type Ggml,
  type Pointer,
} from './bindings.js';
import type { GgmlDevice } from './devices.js';
import { TensorArena } from './tensor-arena.js';

/** Bytes that are read and handed to ggml at a time, so that loading needs little memory of its own. */
const chunkBytes = 8 << 20;

interface Placement {
  readonly tensor: TensorInfo;
  readonly bufferType: Pointer;
}

/** A shard's weights in the buffers that suit them best. */
export class Weights implements Disposable {
  readonly #arenas: TensorArena[] = [];
  readonly #tensors = new Map<string, Pointer>();
  #embedding: Pointer | undefined;

  private constructor() {}

  /**
   * Allocates and fills a shard's weights, a chunk at a time.
   * @param cpu device whose plain memory holds the embedding table.
   * @throws ModelError when the source cannot be read, EngineError when memory is short.
   */
  static async load(
    ggml: Ggml,
    source: TensorSource,
    shard: Shard,
    device: GgmlDevice,
    cpu: GgmlDevice,
    onProgress?: (loadedBytes: number, totalBytes: number) => void,
  ): Promise<Weights> {
    const weights = new Weights();
    try {
      const filling = [
        ...weights.#allocate(ggml, placeTensors(ggml, source, shard, device)),
        ...weights.#allocateEmbedding(ggml, source, shard, cpu),
      ];
      const total = filling.reduce((sum, { tensor }) => sum + tensor.bytes, 0);
      let loaded = 0;
      for (const { tensor, pointer, unit } of filling)
        await fill(ggml, source, tensor, pointer, unit, (bytes) =>
          onProgress?.((loaded += bytes), total),
        );
      return weights;
    } catch (error) {
      weights[Symbol.dispose]();
      throw error;
    }
  }

  /** The table for get_rows, in plain CPU memory. */
  get embedding(): Pointer {
    if (this.#embedding === undefined) throw new EngineError('this shard has no embedding');
    return this.#embedding;
  }

  get bytes(): number {
    return this.#arenas.reduce((sum, arena) => sum + arena.bytes, 0);
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** @throws EngineError when the model lacks a tensor that its family needs. */
  get(name: string): Pointer {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined)
      throw new EngineError(
        `the model has no tensor ${name}: the file is damaged or of a variant that is not supported`,
      );
    return tensor;
  }

  [Symbol.dispose](): void {
    for (const arena of this.#arenas) arena[Symbol.dispose]();
    this.#arenas.length = 0;
  }

  #allocate(ggml: Ggml, placements: readonly Placement[]): Filling[] {
    const filling: Filling[] = [];
    for (const bufferType of new Set(placements.map((placement) => placement.bufferType))) {
      const here = placements.filter((placement) => placement.bufferType === bufferType);
      const arena = new TensorArena(ggml, bufferType, here.length);
      this.#arenas.push(arena);
      const repacks = ggml.bufferTypeName(bufferType) === 'CPU_REPACK';
      const whole = ggml.bufferTypeName(bufferType) === 'AMX';
      for (const { tensor } of here) {
        const pointer = describe(ggml, arena.context, tensor);
        this.#tensors.set(tensor.name, pointer);
        filling.push({ tensor, pointer, unit: repacks ? 'repacked' : whole ? 'whole' : 'plain' });
      }
      ggml.setBufferUsage(arena.allocate('weights'), usageWeights);
    }
    return filling;
  }

  #allocateEmbedding(ggml: Ggml, source: TensorSource, shard: Shard, cpu: GgmlDevice): Filling[] {
    const tensor = source.tensors.get(embeddingTensor);
    if (!shard.embedding) return [];
    if (!tensor)
      throw new EngineError(`the model has no tensor ${embeddingTensor}: the file is damaged`);
    const arena = new TensorArena(ggml, cpu.bufferType, 1);
    this.#arenas.push(arena);
    this.#embedding = describe(ggml, arena.context, tensor);
    arena.allocate('embedding');
    return [{ tensor, pointer: this.#embedding, unit: 'plain' }];
  }
}

/** How a tensor may be filled: anywhere, only in blocks of whole rows that get repacked, or only at once. */
type FillUnit = 'plain' | 'repacked' | 'whole';

interface Filling {
  readonly tensor: TensorInfo;
  readonly pointer: Pointer;
  readonly unit: FillUnit;
}

/** Chooses the buffer type of every tensor that layers and head compute with. */
function placeTensors(
  ggml: Ggml,
  source: TensorSource,
  shard: Shard,
  device: GgmlDevice,
): Placement[] {
  const emptyBuffers = new Map(
    device.weightBufferTypes.map((type) => [type, ggml.allocateBuffer(type, 0)]),
  );
  try {
    return tensorsOfShard(source.tensors, shard)
      .filter(({ name }) => name !== embeddingTensor || isTiedHead(source, shard))
      .map((tensor) => ({
        tensor,
        bufferType:
          tensor.shape.length < 2
            ? device.bufferType
            : (device.weightBufferTypes.find((type) =>
                canMultiply(ggml, device, tensor, emptyBuffers.get(type) ?? null),
              ) ?? unsupported(tensor, device)),
      }));
  } finally {
    for (const buffer of emptyBuffers.values()) if (buffer) ggml.freeBuffer(buffer);
  }
}

function isTiedHead({ tensors }: TensorSource, shard: Shard): boolean {
  return shard.head && !tensors.has('output.weight') && tensors.has(outputNormTensor);
}

function unsupported(tensor: TensorInfo, device: GgmlDevice): never {
  throw new EngineError(
    `unsupported quantization: ${device.name} cannot compute with ${tensor.type.name} (tensor ${tensor.name}): use --device cpu or another quantization`,
  );
}

/** Asks the device about a matrix multiplication with a weight of this kind in this kind of buffer. */
function canMultiply(
  ggml: Ggml,
  device: GgmlDevice,
  tensor: TensorInfo,
  buffer: Pointer | null,
): boolean {
  const context = ggml.newContext(ggml.tensorOverhead() * 4);
  try {
    const weight = describe(ggml, context, tensor);
    const input = ggml.newTensor2d(context, tensorType.f32, tensor.shape[0] ?? 1, 64);
    const product = ggml.mulMat(context, weight, input);
    pretendBuffer(weight, buffer);
    return ggml.deviceSupports(device.pointer, product);
  } finally {
    ggml.freeContext(context);
  }
}

function describe(ggml: Ggml, context: Pointer, { type, shape }: TensorInfo): Pointer {
  const [columns = 1, rows] = shape;
  return rows === undefined
    ? ggml.newTensor1d(context, type.id, columns)
    : ggml.newTensor2d(context, type.id, columns, rows);
}

async function fill(
  ggml: Ggml,
  source: TensorSource,
  tensor: TensorInfo,
  pointer: Pointer,
  unit: FillUnit,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const set = promisify(ggml.tensorSet.async);
  const step =
    unit === 'whole' ? tensor.bytes : unit === 'plain' ? chunkBytes : rowBlockBytes(tensor);
  const chunk = new Uint8Array(Math.min(step, tensor.bytes));
  for (let offset = 0; offset < tensor.bytes; offset += chunk.byteLength) {
    const bytes = Math.min(chunk.byteLength, tensor.bytes - offset);
    const part = chunk.subarray(0, bytes);
    await source.read(tensor.name, offset, part);
    if (unit === 'repacked' && bytes < tensor.bytes)
      await setRowBlock(ggml, tensor, pointer, offset, part);
    else await set(pointer, part, offset, bytes);
    onBytes(bytes);
  }
}

/** Repacking interleaves groups of 4 to 16 rows, so blocks of 64 rows can be repacked one by one. */
function rowBlockBytes(tensor: TensorInfo): number {
  const rows = tensor.shape[1] ?? 1;
  const blockOfRows = (tensor.bytes / rows) * 64;
  return Math.max(1, Math.floor(chunkBytes / blockOfRows)) * blockOfRows;
}

/** A repacking buffer takes whole tensors only: a tensor of some rows is laid over their place in the large one. */
async function setRowBlock(
  ggml: Ggml,
  tensor: TensorInfo,
  pointer: Pointer,
  offset: number,
  part: Uint8Array,
): Promise<void> {
  const [columns = 1, rows = 1] = tensor.shape;
  const context = ggml.newContext(ggml.tensorOverhead() * 2);
  try {
    const blockRows = part.byteLength / (tensor.bytes / rows);
    const block = ggml.newTensor2d(context, tensor.type.id, columns, blockRows);
    ggml.placeTensor(tensorBuffer(pointer), block, ggml.tensorData(pointer) + BigInt(offset));
    await promisify(ggml.tensorSet.async)(block, part, 0, part.byteLength);
  } finally {
    ggml.freeContext(context);
  }
}
