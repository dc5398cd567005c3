import type { Connection } from '../transport/wire/connection.js';
import { receiveTensors } from './receive-tensors.js';
import type { HashedTensor, TensorCache } from './tensor-cache.js';

/** Brings a shard's tensors into the cache: the coordinator connects once more to send those that are missing. */
export class Delivery {
  #take: ((connection: Connection) => void) | undefined;

  /** @param ask tells the coordinator which tensors to send */
  constructor(
    private readonly cache: TensorCache,
    private readonly ask: (names: readonly string[]) => void,
  ) {}

  /** Whether the coordinator's connection is waited for. */
  get isAwaited(): boolean {
    return this.#take !== undefined;
  }

  /** Takes the connection that tensors come over. It is closed when they are here. */
  attach(connection: Connection): void {
    if (this.#take) this.#take(connection);
    else connection.close('no tensors are missing');
    this.#take = undefined;
  }

  /**
   * Resolves when all tensors are in the cache.
   * @throws WorkerError 'disk', 'damaged', 'message' or 'ended', or the signal's reason
   */
  async complete(tensors: readonly HashedTensor[], signal: AbortSignal): Promise<void> {
    const missing = await this.cache.missing(tensors, signal);
    if (missing.length === 0) return;
    const bytes = missing.reduce((sum, tensor) => sum + tensor.bytes, 0);
    await this.cache.makeRoom(bytes, new Set(tensors.map(({ sha256 }) => sha256)));
    const aborted = whenAborted(signal);
    const connected = new Promise<Connection>((resolve) => (this.#take = resolve));
    this.ask(missing.map(({ name }) => name));
    const connection = await Promise.race([connected, aborted]).finally(
      () => (this.#take = undefined),
    );
    aborted.catch((reason: unknown) => connection.close(messageOf(reason)));
    try {
      await receiveTensors(connection, this.cache, missing);
      connection.close('all tensors have arrived');
    } catch (error) {
      connection.close(messageOf(error));
      throw error;
    }
  }
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
