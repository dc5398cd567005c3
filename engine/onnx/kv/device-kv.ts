import { Resources } from '../../resources.js';
import { cacheKinds, cellNames } from '../graph/kv-names.js';
import { elementType, type Pointer } from '../runtime/api.js';
import { Handle } from '../runtime/handle.js';
import type { IoBinding } from '../runtime/io-binding.js';
import type { Session } from '../runtime/session.js';
import { outOfKvMemory, type KvHeads, type KvMemory } from './kv-memory.js';
import { storageBytes } from './kv-type.js';

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
export class DeviceKv implements KvMemory {
  #bytes = 0;
  readonly #resources = new Resources();
  readonly #cellsEach: number;
  /** By the first of their cells. */
  readonly #tensors = new Map<number, readonly DeviceTensor[]>();

  /**
   * @param heads of every layer
   * @param conversations that the cells are divided among, in equal parts
   * @throws EngineError 'memory' when it is short
   */
  constructor(
    session: Session,
    memoryName: string,
    heads: ReadonlyMap<number, KvHeads>,
    cells: number,
    conversations: number,
  ) {
    const { runtime } = session;
    this.#cellsEach = Math.floor(cells / conversations);
    const shapeOf = ({ kvHeads, headSize }: KvHeads) => [1, kvHeads, this.#cellsEach, headSize];
    try {
      const info = this.#take(runtime.newMemoryInfo(memoryName), runtime.releaseMemoryInfo);
      const allocator = this.#take(
        runtime.newAllocator(session.pointer, info),
        runtime.releaseAllocator,
      );
      const newTensor = (of: KvHeads) => {
        const shape = shapeOf(of);
        this.#bytes += shape.reduce((product, size) => product * size, storageBytes.f32);
        const value = runtime.newDeviceValue(allocator, shape, elementType.f32);
        return this.#take(value, runtime.releaseValue);
      };
      for (let i = 0; i < conversations; i++)
        this.#tensors.set(
          i * this.#cellsEach,
          [...heads].flatMap(([layer, of]) =>
            cacheKinds.map((kind) => ({ ...cellNames(layer, kind), value: newTensor(of) })),
          ),
        );
    } catch (error) {
      this[Symbol.dispose]();
      throw outOfKvMemory(error);
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  holds(first: number, last: number): boolean {
    return this.#tensors.has(first) && last < first + this.#cellsEach;
  }

  bind(binding: IoBinding, [start = 0]: readonly (number | undefined)[]): void {
    for (const { past, present, value } of this.#tensors.get(start) ?? [])
      binding.sharedValue(past, present, value);
  }

  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }

  #take(pointer: Pointer, release: (pointer: Pointer) => void): Pointer {
    return this.#resources.take(new Handle(pointer, release)).pointer;
  }
}
