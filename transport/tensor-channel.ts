import type { Connection } from './connection.js';
import type { TransportError } from './errors.js';
import type { Message, MessageKind, Messages } from './messages.js';

/** Rows that are encoded into wherever they are sent from. */
export interface OutgoingPayload {
  readonly rows: number;
  readonly rowBytes: number;
  /** Encodes rows [first, first + count) into `count * rowBytes` bytes. Called for all rows, in order, each once. */
  encode(into: Uint8Array, first: number, count: number): void;
}

/** A message as it arrives: with a payload of many rows it may come in parts. */
export interface MessagePart {
  /** Only with the first part. */
  readonly message: Message | undefined;
  /** Whole rows; valid during the call. */
  readonly payload: Uint8Array;
  readonly isLast: boolean;
}

/** What a tensor link sends over: TCP, or RDMA beside it. Ends with the connection that it was made for. */
export interface TensorChannel {
  /** For logs, such as `tcp` or `rdma (rc, mlx5_0)`. */
  readonly name: string;
  /** Bytes since they were last set to 0, frames and all. */
  bytesSent: number;
  bytesReceived: number;
  /** When the last message with a payload began to arrive, as `performance.now()` tells. */
  readonly payloadBeganAt: number;
  readonly closed: Promise<TransportError>;
  /** Where messages go; those that came before it was set wait, and their sender with them. */
  onPart: ((part: MessagePart) => void) | undefined;
  /**
   * Sends a message after those before it. Resolves when the payload is encoded, or the connection has ended.
   * @param onSent called when the payload has left, as far as that is known
   */
  send<Kind extends MessageKind>(
    kind: Kind,
    body: Messages[Kind],
    payload?: OutgoingPayload,
    onSent?: () => void,
  ): Promise<void>;
}

/** Tensors over the connection itself. */
export class TcpChannel implements TensorChannel {
  readonly name = 'tcp';
  readonly #freeBuffers: Uint8Array[] = [];

  constructor(private readonly connection: Connection) {}

  get bytesSent(): number {
    return this.connection.bytesSent;
  }
  set bytesSent(bytes: number) {
    this.connection.bytesSent = bytes;
  }
  get bytesReceived(): number {
    return this.connection.bytesReceived;
  }
  set bytesReceived(bytes: number) {
    this.connection.bytesReceived = bytes;
  }
  get payloadBeganAt(): number {
    return this.connection.payloadBeganAt;
  }
  get closed(): Promise<TransportError> {
    return this.connection.closed;
  }

  set onPart(handler: ((part: MessagePart) => void) | undefined) {
    this.connection.onMessage =
      handler && ((message, payload) => handler({ message, payload, isLast: true }));
  }

  send<Kind extends MessageKind>(
    kind: Kind,
    body: Messages[Kind],
    payload?: OutgoingPayload,
    onSent?: () => void,
  ): Promise<void> {
    if (!payload) this.connection.send(kind, body);
    else this.#sendPayload(kind, body, payload, onSent);
    return Promise.resolve();
  }

  #sendPayload<Kind extends MessageKind>(
    kind: Kind,
    body: Messages[Kind],
    payload: OutgoingPayload,
    onSent?: () => void,
  ): void {
    const bytes = payload.rows * payload.rowBytes;
    const buffer = this.#takeBuffer(bytes);
    const encoded = buffer.subarray(0, bytes);
    payload.encode(encoded, 0, payload.rows);
    this.connection.send(kind, body, encoded, () => {
      this.#freeBuffers.push(buffer);
      onSent?.();
    });
  }

  /** Buffers are used again when the socket has taken their bytes; credits bound how many there are. */
  #takeBuffer(bytes: number): Uint8Array {
    const free = this.#freeBuffers.pop();
    return free && free.byteLength >= bytes ? free : new Uint8Array(bytes);
  }
}
