import type { RdmaDevice } from './devices.js';
import { RingMemory } from './ring-memory.js';
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
