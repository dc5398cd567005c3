import { embeddingTensor } from '../../model/shard-tensors.js';
import type { Model } from '../../model/architectures/model.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { EngineError, type StageOptions } from '../engine.js';
import { usageWeights, type Ggml, type Pointer } from './bindings.js';
import type { GgmlDevice } from './devices.js';
import { fillTensor } from './fill-tensor.js';
import { describe, type PlacedTensor } from './placed-tensor.js';
import { placeTensors, type Placement } from './placement.js';
import { TensorArena } from './tensor-arena.js';

/** A shard's weights in the buffers that suit them best. */
export class Weights implements Disposable {
  readonly #arenas: TensorArena[] = [];
  /** What layers and head compute with. */
  readonly #tensors = new Map<string, PlacedTensor>();
  #embedding: PlacedTensor | undefined;

  private constructor() {}

  /**
   * Allocates and fills a shard's weights, a chunk at a time.
   * @param cpu device whose plain memory holds the embedding table.
   * @throws ModelError when the source cannot be read, EngineError 'memory' or 'unsupported'; the signal's reason
   */
  static async load(
    ggml: Ggml,
    { source, shard, onProgress, signal }: StageOptions,
    { tensors }: Pick<Model, 'tensors'>,
    device: GgmlDevice,
    cpu: GgmlDevice,
  ): Promise<Weights> {
    const weights = new Weights();
    try {
      weights.#allocate(ggml, placeTensors(ggml, source, shard, tensors, device));
      if (shard.embedding) weights.#allocateEmbedding(ggml, source, cpu);
      const all = [...weights.#tensors.values()];
      if (weights.#embedding) all.push(weights.#embedding);
      const total = all.reduce((sum, { tensor }) => sum + tensor.bytes, 0);
      let loaded = 0;
      for (const placed of all)
        await fillTensor(ggml, source, placed, (bytes) => {
          signal?.throwIfAborted();
          onProgress?.((loaded += bytes), total);
        });
      return weights;
    } catch (error) {
      weights[Symbol.dispose]();
      throw error;
    }
  }

  /** The table for get_rows, in plain CPU memory. */
  get embedding(): Pointer {
    if (this.#embedding === undefined)
      throw new EngineError('internal', 'this shard has no embedding');
    return this.#embedding.pointer;
  }

  /** What all rows are multiplied with, or all heads of all rows. */
  get matrices(): PlacedTensor[] {
    return [...this.#tensors.values()].filter(
      ({ use }) => use === 'matrix' || use === 'matrices of heads',
    );
  }

  get bytes(): number {
    return this.#arenas.reduce((sum, arena) => sum + arena.bytes, 0);
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** @throws EngineError 'unsupported' when the model lacks a tensor that its family needs */
  get(name: string): Pointer {
    const placed = this.#tensors.get(name);
    if (placed === undefined)
      throw new EngineError(
        'unsupported',
        `the model has no tensor ${name}: the file is damaged or of a variant that is not supported`,
      );
    return placed.pointer;
  }

  [Symbol.dispose](): void {
    for (const arena of this.#arenas) arena[Symbol.dispose]();
    this.#arenas.length = 0;
  }

  #allocate(ggml: Ggml, placements: readonly Placement[]): void {
    for (const bufferType of new Set(placements.map((placement) => placement.bufferType))) {
      const here = placements.filter((placement) => placement.bufferType === bufferType);
      const arena = this.#openArena(ggml, bufferType, here.length);
      const buffer = ggml.bufferTypeName(bufferType);
      for (const { tensor, use } of here) {
        const pointer = describe(ggml, arena.context, tensor);
        this.#tensors.set(tensor.name, { tensor, use, pointer, buffer });
      }
      ggml.setBufferUsage(arena.allocate('weights'), usageWeights);
    }
  }

  #allocateEmbedding(ggml: Ggml, { tensors }: TensorSource, { bufferType }: GgmlDevice): void {
    const tensor = tensors.get(embeddingTensor);
    if (!tensor)
      throw new EngineError(
        'unsupported',
        `the model has no tensor ${embeddingTensor}: the file is damaged`,
      );
    const arena = this.#openArena(ggml, bufferType, 1);
    const pointer = describe(ggml, arena.context, tensor);
    this.#embedding = { tensor, use: 'matrix', pointer, buffer: ggml.bufferTypeName(bufferType) };
    arena.allocate('embedding');
  }

  #openArena(ggml: Ggml, bufferType: Pointer, tensors: number): TensorArena {
    const arena = new TensorArena(ggml, bufferType, tensors);
    this.#arenas.push(arena);
    return arena;
  }
}
