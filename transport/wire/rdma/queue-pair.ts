import koffi from 'koffi';
import type { QueueAddress } from '../../messages/messages.js';
import { checkZero, orThrow } from './causes.js';
import { portNumber, type Endpoint } from './devices.js';
import { offsetOf, sizeOf, widthOf, type FieldName } from './layouts.js';
import { loadVerbs, operation, verbsValues, type Operations, type Pointer } from './verbs.js';
import type { WorkRequest } from './work-request.js';

/** RC repeats what was lost; UC, all that Thunderbolt has, does not. */
export type QueueKind = 'rc' | 'uc';
export const queueKinds: readonly QueueKind[] = ['rc', 'uc'];

/** Requests that may wait in a queue: Apple's devices take no more. */
export const mostRequests = 32;

/** On RC: 4.096 µs × 2^14 = 67 ms, seven times; and while the other end has no buffer, for ever. */
const reliable = { timeout: 14, retries: 7, noBufferRetries: 7, noBufferTimer: 12 };

const firstPacket = 7;

/** One end of a link. */
export class QueuePair {
  readonly address: QueueAddress;
  readonly #pair: Pointer;
  readonly #postSend: Operations['post_send'];
  readonly #postReceive: Operations['post_recv'];
  /** Where the library says which request it did not take: there is only one. */
  readonly #bad = Buffer.alloc(8);

  /**
   * @param completions the completion queue
   * @throws TransportError 'rdma'
   */
  constructor(
    private readonly endpoint: Endpoint,
    readonly kind: QueueKind,
    completions: Pointer,
  ) {
    const { device, port, gid } = endpoint;
    const attributes = Buffer.alloc(sizeOf('ibv_qp_init_attr'));
    const set = (field: FieldName<'ibv_qp_init_attr'>, value: number) =>
      attributes.writeUInt32LE(value, offsetOf('ibv_qp_init_attr', field));
    attributes.writeBigUInt64LE(completions, offsetOf('ibv_qp_init_attr', 'send_cq'));
    attributes.writeBigUInt64LE(completions, offsetOf('ibv_qp_init_attr', 'recv_cq'));
    set('max_send_wr', mostRequests);
    set('max_recv_wr', mostRequests);
    set('max_send_sge', 1);
    set('max_recv_sge', 1);
    set('qp_type', verbsValues.kinds[kind]);
    this.#pair = orThrow(
      'createQueuePair',
      device.name,
      loadVerbs().createQueuePair(device.domain, attributes),
    );
    this.#postSend = operation(device.context, 'post_send');
    this.#postReceive = operation(device.context, 'post_recv');
    this.address = {
      number: koffi.decode(this.#pair, offsetOf('ibv_qp', 'qp_num'), 'uint32') as number,
      firstPacket,
      lid: port.lid,
      mtu: process.platform === 'darwin' ? verbsValues.mtu1024 : port.mtu,
      gid: gid.bytes,
    };
    try {
      this.#initialize();
    } catch (error) {
      this.destroy();
      throw error;
    }
  }

  /** Buffers must be posted before the other end sends. @throws TransportError 'rdma' */
  connect(other: QueueAddress): void {
    const { states, masks } = verbsValues;
    const isReliable = this.kind === 'rc';
    const { gid, port } = this.endpoint;
    const common = masks.state | masks.addressVector | masks.pathMtu;
    this.#modify(
      'readyToReceive',
      common |
        masks.destinationQueuePair |
        masks.receivePsn |
        (isReliable ? masks.maxDestinationReadAtomic | masks.minRnrTimer : 0),
      {
        qp_state: states.readyToReceive,
        path_mtu: Math.min(other.mtu, this.address.mtu),
        dest_qp_num: other.number,
        rq_psn: other.firstPacket,
        max_dest_rd_atomic: 1,
        min_rnr_timer: reliable.noBufferTimer,
        dlid: other.lid,
        is_global: 1,
        sgid_index: gid.index,
        hop_limit: process.platform === 'darwin' || port.lid !== 0 ? 1 : 64,
        ah_port_num: portNumber,
      },
      other.gid,
    );
    this.#modify(
      'other',
      masks.state |
        masks.sendPsn |
        (isReliable ? masks.timeout | masks.retryCount | masks.rnrRetry | masks.maxReadAtomic : 0),
      {
        qp_state: states.readyToSend,
        sq_psn: firstPacket,
        timeout: reliable.timeout,
        retry_cnt: reliable.retries,
        rnr_retry: reliable.noBufferRetries,
        max_rd_atomic: 1,
      },
    );
  }

  /** @throws TransportError 'rdma' when the queue is full or has failed */
  send({ pointer }: WorkRequest): void {
    this.#check(this.#postSend(this.#pair, pointer, this.#bad));
  }

  /** Offers memory for a frame. @throws TransportError 'rdma' */
  receive({ pointer }: WorkRequest): void {
    this.#check(this.#postReceive(this.#pair, pointer, this.#bad));
  }

  destroy(): void {
    loadVerbs().destroyQueuePair(this.#pair);
  }

  #initialize(): void {
    const { states, masks } = verbsValues;
    this.#modify('other', masks.state | masks.pkeyIndex | masks.port | masks.accessFlags, {
      qp_state: states.init,
      port_num: portNumber,
      qp_access_flags: verbsValues.accessLocalWrite,
    });
  }

  #modify(
    what: 'readyToReceive' | 'other',
    mask: number,
    values: Partial<Record<FieldName<'ibv_qp_attr'>, number>>,
    gid?: Uint8Array,
  ): void {
    const attributes = Buffer.alloc(sizeOf('ibv_qp_attr'));
    for (const [field, value] of Object.entries(values)) {
      const name = field as FieldName<'ibv_qp_attr'>;
      attributes.writeUIntLE(value, offsetOf('ibv_qp_attr', name), widthOf('ibv_qp_attr', name));
    }
    if (gid) attributes.set(gid, offsetOf('ibv_qp_attr', 'dgid'));
    const result = loadVerbs().modifyQueuePair(this.#pair, attributes, mask);
    checkZero(what, this.endpoint.device.name, result);
  }

  #check(result: number): void {
    checkZero('other', this.endpoint.device.name, result);
  }
}
