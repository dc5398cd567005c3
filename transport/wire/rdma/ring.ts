import koffi from 'koffi';
import { orThrow } from './causes.js';
import type { RdmaDevice } from './devices.js';
import { offsetOf } from './layouts.js';
import { PageMemory } from './system.js';
import { loadVerbs, verbsValues, type Pointer } from './verbs.js';
import { WorkRequest } from './work-request.js';

/** Slots for frames in each direction, and for notices: together they fit a queue. */
const frameSlots = 16;
const noticeSlots = 8;
export const noticeBytes = 64;

/** A frame's place, and the request that sends or receives it. */
export interface Slot {
  readonly bytes: Uint8Array;
  readonly request: WorkRequest;
}

/** The slots of a link's two directions, in one registered piece of memory. */
export class Ring {
  readonly frames: readonly Slot[];
  readonly notices: readonly Slot[];
  /** By the id of their requests. */
  readonly arriving: readonly Slot[];
  readonly #memory: RingMemory;

  /** @throws TransportError 'rdma' */
  constructor(device: RdmaDevice, slotBytes: number) {
    const arrivingSlots = frameSlots + noticeSlots;
    const noticesAt = frameSlots * slotBytes;
    const arrivingAt = noticesAt + noticeSlots * noticeBytes;
    const memory = new RingMemory(device, arrivingAt + arrivingSlots * slotBytes);
    const slots = (
      count: number,
      at: number,
      bytes: number,
      request: (offset: number, id: number) => WorkRequest,
    ): Slot[] =>
      Array.from({ length: count }, (_, i) => {
        const offset = at + i * bytes;
        return {
          bytes: memory.bytes.subarray(offset, offset + bytes),
          request: request(offset, i),
        };
      });
    const send = (offset: number) => WorkRequest.send(memory, offset);
    this.#memory = memory;
    this.frames = slots(frameSlots, 0, slotBytes, send);
    this.notices = slots(noticeSlots, noticesAt, noticeBytes, send);
    this.arriving = slots(arrivingSlots, arrivingAt, slotBytes, (offset, id) =>
      WorkRequest.receive(memory, id, offset, slotBytes),
    );
  }

  /** The queue pair that uses it must be gone, and nobody may look at slots afterwards. */
  free(): void {
    this.#memory.free();
  }
}

let registered = 0;

/** Memory regions of this process that are registered now. */
export function registeredRegions(): number {
  return registered;
}

/** A link's buffers: one memory region, which the device reads and writes by itself. */
class RingMemory {
  readonly #memory: PageMemory;
  readonly #region: Pointer;
  readonly localKey: number;

  /** @throws TransportError 'rdma' */
  constructor(device: RdmaDevice, size: number) {
    this.#memory = PageMemory.allocate(size);
    this.#region = orThrow(
      'register',
      device.name,
      loadVerbs().registerMemory(
        device.domain,
        this.#memory.address,
        size,
        verbsValues.accessLocalWrite,
      ),
      () => this.#memory.free(),
    );
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
