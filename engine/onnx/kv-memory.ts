import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import type { Shard } from '../../model/shard.js';
import { elementType, type Pointer } from './bindings.js';
import type { Binding } from './binding.js';
import { cacheKinds, cacheNames } from './graph/kv-names.js';
import { layersOf, outOfKvMemory, type KvCache } from './kv-cache.js';
import { storageBytes } from './kv-type.js';
import type { Session } from './session.js';

/** Where keys and values are kept. */
export interface KvMemory extends Disposable {
  readonly bytes: number;
  /** Whether cells from the first to the last can be bound. */
  holds(first: number, last: number): boolean;
  /** Binds the keys and values of all layers, beginning with cell `start`. */
  bind(binding: Binding, start: number): void;
}

/** Keys and values in the process's memory, where any range of cells can be bound. */
export class HostKvMemory implements KvMemory {
  constructor(readonly cache: KvCache) {}

  get bytes(): number {
    return this.cache.bytes;
  }

  holds(): boolean {
    return true;
  }

  bind(binding: Binding, start: number): void {
    const { cache } = this;
    for (const layer of cache.layers)
      for (const kind of cacheKinds) {
        const names = cacheNames(layer, kind);
        const { numbers, scales } = cache.layer(layer)[kind];
        binding.shared(names.past, names.present, numbers, start * cache.cellBytes, cache.shape);
        if (scales)
          binding.shared(names.pastScales, names.presentScales, scales, 0, [scales.length]);
      }
  }

  [Symbol.dispose](): void {
    // The arrays are the collector's.
  }
}

/** Keys or values of a layer, and what graphs call them. */
interface DeviceTensor {
  readonly past: string;
  readonly present: string;
  readonly value: Pointer;
}

/**
 * Keys and values in a provider's own memory, which can only be bound from its beginning: every conversation's cells are
 * tensors of their own.
 */
export class DeviceKvMemory implements KvMemory {
  readonly bytes: number;
  readonly #allocator: Pointer;
  readonly #info: Pointer;
  readonly #cellsEach: number;
  /** By the first of their cells. */
  readonly #ranges = new Map<number, DeviceTensor[]>();

  /** @throws EngineError when memory is short */
  constructor(
    private readonly session: Session,
    memoryName: string,
    sizes: Pick<Hyperparameters, 'kvHeads' | 'headSize'>,
    shard: Shard,
    cells: number,
    conversations: number,
  ) {
    const { runtime } = session;
    this.#info = runtime.newMemoryInfo(memoryName);
    this.#allocator = runtime.newAllocator(session.pointer, this.#info);
    this.#cellsEach = Math.floor(cells / conversations);
    const shape = [1, sizes.kvHeads, this.#cellsEach, sizes.headSize];
    const layers = layersOf(shard);
    const numbers = shape.reduce((product, size) => product * size);
    this.bytes = conversations * cacheKinds.length * layers.length * numbers * storageBytes.f32;
    try {
      for (let i = 0; i < conversations; i++) this.#allocate(i * this.#cellsEach, layers, shape);
    } catch (error) {
      this[Symbol.dispose]();
      throw outOfKvMemory((error as Error).message);
    }
  }

  holds(first: number, last: number): boolean {
    return this.#ranges.has(first) && last < first + this.#cellsEach;
  }

  bind(binding: Binding, start: number): void {
    for (const { past, present, value } of this.#ranges.get(start) ?? [])
      binding.sharedValue(past, present, value);
  }

  [Symbol.dispose](): void {
    const { runtime } = this.session;
    for (const range of this.#ranges.values())
      for (const { value } of range) runtime.releaseValue(value);
    this.#ranges.clear();
    runtime.releaseAllocator(this.#allocator);
    runtime.releaseMemoryInfo(this.#info);
  }

  #allocate(start: number, layers: readonly number[], shape: readonly number[]): void {
    const range: DeviceTensor[] = [];
    // Known before it is complete, so that what there is is released should the rest fail.
    this.#ranges.set(start, range);
    for (const layer of layers)
      for (const kind of cacheKinds) {
        const { past, present } = cacheNames(layer, kind);
        const value = this.session.runtime.newDeviceValue(this.#allocator, shape, elementType.f32);
        range.push({ past, present, value });
      }
  }
}
