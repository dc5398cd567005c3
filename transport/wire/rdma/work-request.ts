import koffi from 'koffi';
import { offsetOf, sizeOf } from './layouts.js';
import { verbsValues, type Pointer } from './verbs.js';

/** Memory that the device was told of. */
export interface RegisteredMemory {
  readonly address: Pointer;
  readonly localKey: number;
}

/** A request to send or receive bytes of a ring. It is made once and posted often: the library copies it. */
export class WorkRequest {
  readonly pointer: Pointer;
  readonly #request: Buffer;
  /** The one piece of memory that it is about. */
  readonly #element = unmovable(sizeOf('ibv_sge'));

  private constructor(
    name: 'ibv_send_wr' | 'ibv_recv_wr',
    memory: RegisteredMemory,
    offset: number,
    bytes: number,
  ) {
    this.#request = unmovable(sizeOf(name));
    this.pointer = koffi.address(this.#request);
    this.#request.writeBigUInt64LE(koffi.address(this.#element), offsetOf(name, 'sg_list'));
    this.#request.writeInt32LE(1, offsetOf(name, 'num_sge'));
    this.#element.writeBigUInt64LE(memory.address + BigInt(offset), offsetOf('ibv_sge', 'addr'));
    this.#element.writeUInt32LE(memory.localKey, offsetOf('ibv_sge', 'lkey'));
    this.bytes = bytes;
  }

  static send(memory: RegisteredMemory, offset: number): WorkRequest {
    const request = new WorkRequest('ibv_send_wr', memory, offset, 0);
    const set = (field: 'opcode' | 'send_flags', value: number) =>
      request.#request.writeUInt32LE(value, offsetOf('ibv_send_wr', field));
    set('opcode', verbsValues.send);
    set('send_flags', verbsValues.sendSignaled);
    return request;
  }

  /** @param id comes back with what was received */
  static receive(memory: RegisteredMemory, id: number, offset: number, bytes: number): WorkRequest {
    const request = new WorkRequest('ibv_recv_wr', memory, offset, bytes);
    request.#request.writeUInt32LE(id, offsetOf('ibv_recv_wr', 'wr_id'));
    return request;
  }

  set bytes(bytes: number) {
    this.#element.writeUInt32LE(bytes, offsetOf('ibv_sge', 'length'));
  }
}

/** Memory whose address stays: that of small buffers may change with the heap. */
function unmovable(bytes: number): Buffer {
  return Buffer.from(new ArrayBuffer(bytes));
}
