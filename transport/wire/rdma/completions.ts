import { orThrow } from './causes.js';
import { CompletionEvents } from './completion-events.js';
import { CompletionWatch, type WatchedQueue } from './completion-watch.js';
import type { RdmaDevice } from './devices.js';
import { offsetOf, sizeOf } from './layouts.js';
import { mostRequests } from './queue-pair.js';
import { loadVerbs, operation, verbsValues, type Operations, type Pointer } from './verbs.js';

/** What happened on a queue pair. */
export interface CompletionHandler {
  /** A frame of `bytes` bytes is where receive request `id` said. */
  onReceived(id: number, bytes: number): void;
  /** A request failed. @param status enum ibv_wc_status, not 0 */
  onFailed(status: number): void;
}

/** Completions taken at a time: the event loop has other things to do in between. */
const batchEntries = 4;

const offsets = {
  request: offsetOf('ibv_wc', 'wr_id'),
  status: offsetOf('ibv_wc', 'status'),
  opcode: offsetOf('ibv_wc', 'opcode'),
  bytes: offsetOf('ibv_wc', 'byte_len'),
};

/** The completion queue of one link. */
export class CompletionQueue implements WatchedQueue {
  readonly pointer: Pointer;
  readonly #channel: Pointer | null;
  readonly #events: CompletionEvents | undefined;
  readonly #poll: Operations['poll_cq'];
  readonly #completions = Buffer.alloc(batchEntries * sizeOf('ibv_wc'));
  #closed = false;

  /** @throws TransportError 'rdma' */
  constructor(
    { name, context }: RdmaDevice,
    private readonly handler: CompletionHandler,
  ) {
    const verbs = loadVerbs();
    this.#channel = verbs.createChannel?.(context) ?? null;
    this.pointer = orThrow(
      'other',
      name,
      verbs.createCompletionQueue(context, 2 * mostRequests, null, this.#channel, 0),
      () => this.#freeChannel(),
    );
    this.#poll = operation(context, 'poll_cq');
    this.#events = this.#openEvents(context);
    CompletionWatch.running.add(this);
  }

  /** Something is being sent: an answer may follow soon. */
  sending(): void {
    CompletionWatch.running.expect();
  }

  requestEvent(): boolean {
    this.#events?.request();
    return this.#events !== undefined;
  }

  take(): boolean {
    const count = this.#closed ? 0 : this.#poll(this.pointer, batchEntries, this.#completions);
    let hasArrived = false;
    // Whoever handles one may close the queue.
    for (let i = 0; i < count && !this.#closed; i++)
      if (this.#handle(i * sizeOf('ibv_wc'))) hasArrived = true;
    return hasArrived;
  }

  /** Ends it, when the queue pair is gone. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    CompletionWatch.running.remove(this);
    this.#events?.close();
    loadVerbs().destroyCompletionQueue(this.pointer);
    this.#freeChannel();
  }

  #freeChannel(): void {
    if (this.#channel !== null) loadVerbs().destroyChannel?.(this.#channel);
  }

  #openEvents(context: Pointer): CompletionEvents | undefined {
    if (this.#channel === null) return undefined;
    try {
      const onEvent = () => CompletionWatch.running.wake();
      return new CompletionEvents(context, this.#channel, this.pointer, onEvent);
    } catch {
      // Not every system's descriptors can be waited for: the watch then looks now and then.
      return undefined;
    }
  }

  /** @returns whether it is a frame that has arrived */
  #handle(at: number): boolean {
    const status = this.#completions.readUInt32LE(at + offsets.status);
    if (status !== 0) this.handler.onFailed(status);
    // A frame that was sent is nobody's business before the other side says that it arrived.
    const opcode = this.#completions.readUInt32LE(at + offsets.opcode);
    if (status !== 0 || (opcode & verbsValues.receiveBit) === 0) return false;
    const request = this.#completions.readUInt32LE(at + offsets.request);
    this.handler.onReceived(request, this.#completions.readUInt32LE(at + offsets.bytes));
    return true;
  }
}
