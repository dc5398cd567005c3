import koffi from 'koffi';
import { orThrow } from './causes.js';
import type { RdmaDevice } from './devices.js';
import { offsetOf } from './layouts.js';
import { PageMemory } from './system.js';
import { loadVerbs, verbsValues, type Pointer } from './verbs.js';

let registered = 0;

/** Memory regions of this process that are registered now. */
export function registeredRegions(): number {
  return registered;
}

/** A link's buffers: one memory region, which the device reads and writes by itself. */
export class RingMemory {
  readonly #memory: PageMemory;
  readonly #region: Pointer;
  readonly localKey: number;

  /** @throws TransportError 'rdma' */
  constructor(device: RdmaDevice, size: number) {
    this.#memory = PageMemory.allocate(size);
    try {
      this.#region = orThrow(
        'register',
        device.name,
        loadVerbs().registerMemory(
          device.domain,
          this.#memory.address,
          size,
          verbsValues.accessLocalWrite,
        ),
      );
    } catch (error) {
      this.#memory.free();
      throw error;
    }
    registered++;
    this.localKey = koffi.decode(this.#region, offsetOf('ibv_mr', 'lkey'), 'uint32') as number;
  }

  get address(): Pointer {
    return this.#memory.address;
  }

  get bytes(): Uint8Array {
    return this.#memory.bytes;
  }

  /** The queue pair that uses it must be gone, and nobody may look at `bytes` afterwards. */
  free(): void {
    loadVerbs().deregisterMemory(this.#region);
    registered--;
    this.#memory.free();
  }
}
