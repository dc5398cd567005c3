import type { Shard } from '../../../step/shard.js';
import { embeddingTensor, hasTiedHead, tensorsOfShard } from '../../../model/shard-tensors.js';
import type { TensorInfo, TensorSource } from '../../../model/tensor-source.js';
import { EngineError, type StageOptions } from '../../engine.js';
import { decoderOf } from './decode.js';
import { EmbeddingTable } from './embedding-table.js';
import { joinedSource, joinMatrices, leaveMatrices } from './joined-matrices.js';
import { exactTypes, memoryBytesOf, type Matrix } from './layout.js';
import type { MatrixCache } from './matrix-cache.js';

/** A shard's weights: matrices as files for ONNX Runtime to map, the small rest and the embedding in memory. */
export class ShardWeights {
  private constructor(
    /** Where the matrices' files are. */
    readonly folder: string,
    private readonly factors: ReadonlyMap<string, Factor>,
    private readonly vectors: ReadonlyMap<string, Float32Array>,
    private readonly table: EmbeddingTable | undefined,
  ) {}

  /**
   * Reads a shard's weights, and packs its matrices if that was not done before.
   * @throws ModelError when the source cannot be read, EngineError for a type that is refused or a full disk, the
   * signal's reason
   */
  static async load(
    { source, shard, onProgress, signal }: WeightSource,
    cache: MatrixCache,
    { requantize, joins }: WeightOptions,
  ): Promise<ShardWeights> {
    const { matrices, vectors, embedding } = sortTensors(source, shard);
    const all = [...matrices, ...vectors, ...(embedding ? [embedding] : [])];
    if (!requantize) for (const tensor of matrices) refuseInexact(tensor);
    const total = all.reduce((sum, { bytes }) => sum + bytes, 0);
    let loaded = 0;
    const onBytes = (bytes: number) => onProgress?.((loaded += bytes), total);

    const joined = joins ? joinMatrices(matrices) : leaveMatrices(matrices);
    const packed = await cache.provide(
      joinedSource(source, joined),
      joined.map(({ tensor }) => tensor),
      onBytes,
      signal,
    );
    const values = new Map<string, Float32Array>();
    for (const tensor of vectors) {
      signal?.throwIfAborted();
      values.set(tensor.name, await readVector(source, tensor));
    }
    const table = embedding && (await EmbeddingTable.load(source, embedding, signal));
    onBytes(all.slice(matrices.length).reduce((sum, { bytes }) => sum + bytes, 0));
    return new ShardWeights(
      cache.folder,
      new Map(
        joined.flatMap(({ members }, i) => {
          const factor = { matrix: packed[i] as Matrix, members };
          return members.map(({ name }) => [name, factor] as const);
        }),
      ),
      values,
      table,
    );
  }

  /** All that is multiplied with, each once. */
  get matrices(): Matrix[] {
    return [...new Set([...this.factors.values()].map(({ matrix }) => matrix))];
  }

  /** Bytes in memory. */
  get bytes(): number {
    const matrices = this.matrices.reduce((sum, matrix) => sum + memoryBytesOf(matrix), 0);
    const vectors = [...this.vectors.values()].reduce((sum, values) => sum + values.byteLength, 0);
    return matrices + vectors + (this.table?.bytes ?? 0);
  }

  has(name: string): boolean {
    return this.factors.has(name) || this.vectors.has(name);
  }

  /** @throws EngineError when the model lacks a tensor that its family needs. */
  factor(name: string): Factor {
    return this.factors.get(name) ?? lacks(name);
  }

  /** f32, whatever the model stores. @throws EngineError when the model lacks a tensor that its family needs. */
  vector(name: string): Float32Array {
    return this.vectors.get(name) ?? lacks(name);
  }

  /** Like `vector`, for a tensor that not every model has. */
  optionalVector(name: string): Float32Array | undefined {
    return this.vectors.get(name);
  }

  /** @throws EngineError when this shard has none. */
  get embedding(): EmbeddingTable {
    if (!this.table) throw new EngineError('internal', 'this shard has no embedding');
    return this.table;
  }
}

/** Where a shard's weights come from. */
type WeightSource = Pick<StageOptions, 'source' | 'shard' | 'onProgress' | 'signal'>;

/** What a shard's weights are to be. */
export interface WeightOptions {
  /** Whether types that the engine cannot compute with exactly may become 8 bits. */
  readonly requantize: boolean;
  /** Whether matrices that multiply the same input become one. */
  readonly joins: boolean;
}

/** A matrix to multiply with, and the model's matrices whose products its product consists of. */
export interface Factor {
  readonly matrix: Matrix;
  readonly members: readonly TensorInfo[];
}

interface SortedTensors {
  /** What layers and head multiply with. */
  readonly matrices: readonly TensorInfo[];
  readonly vectors: readonly TensorInfo[];
  readonly embedding: TensorInfo | undefined;
}

/** A tied embedding is there twice on a shard with both ends: as a table and as the head's matrix. */
function sortTensors({ tensors }: TensorSource, shard: Shard): SortedTensors {
  const ofShard = tensorsOfShard(tensors, shard);
  const isMatrix = ({ name, shape }: TensorInfo) =>
    shape.length >= 2 && (name !== embeddingTensor || hasTiedHead(tensors, shard));
  const embedding = tensors.get(embeddingTensor);
  if (shard.embedding && !embedding) lacks(embeddingTensor);
  return {
    matrices: ofShard.filter(isMatrix),
    vectors: ofShard.filter(({ shape }) => shape.length < 2),
    embedding: shard.embedding ? embedding : undefined,
  };
}

function lacks(name: string): never {
  throw new EngineError(
    'unsupported',
    `the model has no tensor ${name}: the file is damaged or of a variant that is not supported`,
  );
}

function refuseInexact({ name, type }: TensorInfo): void {
  if (exactTypes.includes(type.name)) return;
  throw new EngineError(
    'unsupported',
    `unsupported quantization: onnx computes with ${exactTypes.join(', ')}, but tensor ${name} is ${type.name}: use --requantize to make it 8 bits, --engine ggml, or another quantization`,
  );
}

async function readVector(source: TensorSource, tensor: TensorInfo): Promise<Float32Array> {
  const { name, type, shape, bytes } = tensor;
  const stored = new Uint8Array(bytes);
  await source.read(name, 0, stored);
  const values = new Float32Array(shape[0] ?? 1);
  decoderOf(type)(stored, values);
  return values;
}
