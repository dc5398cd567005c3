import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import type { Shard } from '../../model/shard.js';
import { elementType, type Pointer } from './bindings.js';
import type { Binding } from './binding.js';
import { cacheKinds, cacheNames } from './graph/kv-names.js';
import { layersOf, outOfKvMemory, type KvCache } from './kv-cache.js';
import type { Session } from './session.js';

/** Where keys and values are kept. */
export interface KvMemory extends Disposable {
  readonly bytes: number;
  /** Binds the keys and values of all layers, beginning with cell `start`. @throws EngineError when memory is short */
  bind(binding: Binding, start: number): void;
}

/** Keys and values in the process's memory, where any range of cells can be bound. */
export class HostKvMemory implements KvMemory {
  constructor(readonly cache: KvCache) {}

  get bytes(): number {
    return this.cache.bytes;
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

/**
 * Keys and values in a provider's own memory, which can only be bound from its beginning: every range of cells that
 * begins elsewhere has tensors of its own.
 */
export class DeviceKvMemory implements KvMemory {
  readonly #allocator: Pointer;
  readonly #info: Pointer;
  readonly #ranges = new Map<number, ReadonlyMap<string, Pointer>>();

  constructor(
    private readonly session: Session,
    memoryName: string,
    private readonly sizes: Pick<Hyperparameters, 'kvHeads' | 'headSize'>,
    private readonly shard: Shard,
    private readonly cells: number,
  ) {
    const { runtime } = session;
    this.#info = runtime.newMemoryInfo(memoryName);
    this.#allocator = runtime.newAllocator(session.pointer, this.#info);
  }

  get bytes(): number {
    const { sizes, cells } = this;
    const starts = [...this.#ranges.keys()];
    const allocated = starts.reduce((sum, start) => sum + (cells - start), 0);
    return 2 * this.#layers.length * sizes.kvHeads * sizes.headSize * 4 * allocated;
  }

  bind(binding: Binding, start: number): void {
    let range = this.#ranges.get(start);
    if (!range) this.#ranges.set(start, (range = this.#allocate(start)));
    for (const layer of this.#layers)
      for (const kind of cacheKinds) {
        const { past, present } = cacheNames(layer, kind);
        binding.sharedValue(past, present, range.get(past) as Pointer);
      }
  }

  [Symbol.dispose](): void {
    for (const range of this.#ranges.values()) this.#release(range);
    this.#ranges.clear();
    this.session.runtime.releaseAllocator(this.#allocator);
    this.session.runtime.releaseMemoryInfo(this.#info);
  }

  get #layers(): readonly number[] {
    return layersOf(this.shard);
  }

  #allocate(start: number): ReadonlyMap<string, Pointer> {
    const { session, sizes, cells } = this;
    const { runtime } = session;
    const shape = [1, sizes.kvHeads, cells - start, sizes.headSize];
    const range = new Map<string, Pointer>();
    try {
      for (const layer of this.#layers)
        for (const kind of cacheKinds)
          range.set(
            cacheNames(layer, kind).past,
            runtime.newDeviceValue(this.#allocator, shape, elementType.f32),
          );
      return range;
    } catch (error) {
      this.#release(range);
      throw outOfKvMemory((error as Error).message);
    }
  }

  #release(range: ReadonlyMap<string, Pointer>): void {
    for (const value of range.values()) this.session.runtime.releaseValue(value);
  }
}
