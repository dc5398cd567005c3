import type { Connection } from './connection.js';
import type { TransportError } from './errors.js';
import type { Message, MessageKind, Messages } from '../messages/messages.js';

/** What follows a message: some bytes, and then rows that are encoded into wherever they are sent from. */
export interface OutgoingPayload {
  /** The rows begin at `rowsAt(body.byteLength)`. */
  readonly body: Uint8Array;
  readonly rows: number;
  readonly rowBytes: number;
  /** Encodes rows [first, first + count) into `count * rowBytes` bytes. Called for all rows, in order, each once. */
  encode(into: Uint8Array, first: number, count: number): void;
}

/** Where the rows of a payload begin: they can be seen as numbers there. */
export function rowsAt(bodyBytes: number): number {
  return Math.ceil(bodyBytes / 8) * 8;
}

/** A message as it arrives: its payload may come in parts. */
export interface MessagePart {
  /** Only with the first part. */
  readonly message: Message | undefined;
  /** The next bytes of the payload, cut anywhere; valid during the call. */
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
   * @throws TransportError 'garbage' when the message is too long, or whatever `encode` throws
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

  // It waits for nothing, but what it throws has to reject.
  // eslint-disable-next-line @typescript-eslint/require-await
  async send<Kind extends MessageKind>(
    kind: Kind,
    body: Messages[Kind],
    payload?: OutgoingPayload,
    onSent?: () => void,
  ): Promise<void> {
    if (!payload) return this.connection.send(kind, body);
    const first = rowsAt(payload.body.byteLength);
    const bytes = first + payload.rows * payload.rowBytes;
    const buffer = this.#takeBuffer(bytes);
    buffer.set(payload.body);
    if (payload.rows > 0) payload.encode(buffer.subarray(first, bytes), 0, payload.rows);
    this.connection.send(kind, body, buffer.subarray(0, bytes), () => {
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
