import type { TensorInfo, TensorSource } from '../model/tensor-source.js';
import type { Connection } from '../transport/wire/connection.js';
import { TransportError } from '../transport/wire/errors.js';

/** Bytes of tensors that may be on their way to a worker's disk. */
const windowBytes = 32 << 20;
const chunkBytes = 4 << 20;

/**
 * Sends tensors in chunks over a connection of their own, never more ahead of the worker's disk than the window.
 * Resolves when the worker has written them all.
 * @throws TransportError when the connection ends, ModelError when the source cannot be read, the signal's reason
 */
export async function sendTensors(
  connection: Connection,
  source: TensorSource,
  names: readonly string[],
  onProgress: (storedBytes: number, totalBytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const stored = new StoredBytes(connection);
  const tensors = names.flatMap((name): TensorInfo | [] => source.tensors.get(name) ?? []);
  const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  let sent = 0;
  for (const { name, bytes } of tensors)
    for (let offset = 0; offset < bytes; offset += chunkBytes) {
      const chunk = new Uint8Array(Math.min(chunkBytes, bytes - offset));
      await source.read(name, offset, chunk);
      await stored.reached(sent - windowBytes);
      signal.throwIfAborted();
      connection.send('tensorData', { name, offset }, chunk);
      await connection.flushed();
      sent += chunk.byteLength;
      onProgress(stored.bytes, total);
    }
  await stored.reached(total);
  onProgress(total, total);
}

/** What the worker has written, in all. */
class StoredBytes {
  bytes = 0;
  #ended: TransportError | undefined;
  #wake: (() => void) | undefined;

  constructor(connection: Connection) {
    connection.onMessage = (message) => {
      if (message.kind !== 'stored')
        throw new TransportError('garbage', `a ${message.kind} message here`);
      this.bytes = message.body.bytes;
      this.#wake?.();
    };
    void connection.closed.then((reason) => {
      this.#ended = reason;
      this.#wake?.();
    });
  }

  /** Waits until there are so many. @throws TransportError when the connection ends before */
  async reached(bytes: number): Promise<void> {
    while (this.bytes < bytes) {
      if (this.#ended) throw this.#ended;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
