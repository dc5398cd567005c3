import { Worker } from 'node:worker_threads';
import koffi from 'koffi';
import { TransportError } from '../errors.js';
import { orThrow } from './causes.js';
import type { CompletionBatch, ThreadCommand } from './completion-thread.js';
import type { RdmaDevice } from './devices.js';
import { offsetOf } from './layouts.js';
import { mostRequests } from './queue-pair.js';
import { loadVerbs, type Pointer } from './verbs.js';

/** What happened on a queue pair. */
export interface CompletionHandler {
  /** A frame of `bytes` bytes is where receive request `id` said. */
  onReceived(id: number, bytes: number): void;
  /** A request failed. @param status enum ibv_wc_status, not 0 */
  onFailed(status: number): void;
}

/** The completion queue of one link. The process's one completion thread watches it. */
export class CompletionQueue {
  readonly pointer: Pointer;
  readonly #channel: Pointer | undefined;
  readonly #id: number;

  /** @throws TransportError 'rdma' */
  constructor({ name, context }: RdmaDevice, handler: CompletionHandler) {
    const verbs = loadVerbs();
    this.#channel = verbs.createChannel?.(context) ?? undefined;
    const entries = 2 * mostRequests;
    this.pointer = orThrow(
      'other',
      name,
      verbs.createCompletionQueue(context, entries, null, this.#channel ?? null, 0),
    );
    const descriptor =
      this.#channel === undefined
        ? -1
        : (koffi.decode(this.#channel, offsetOf('ibv_comp_channel', 'fd'), 'int') as number);
    this.#id = thread().add(handler, {
      kind: 'watch',
      context,
      queue: this.pointer,
      channel: this.#channel ?? 0n,
      descriptor,
    });
  }

  /** Frames are on their way: the thread looks more often for a moment. */
  expect(): void {
    thread().wake();
  }

  /** Ends it, when the queue pair is gone. Resolves when the thread does not look at it any more. */
  async close(): Promise<void> {
    await thread().remove(this.#id);
    loadVerbs().destroyCompletionQueue(this.pointer);
    if (this.#channel !== undefined) loadVerbs().destroyChannel?.(this.#channel);
  }
}

/** The thread that looks at completion queues; there is one while there are queues. */
class CompletionThread {
  readonly #handlers = new Map<number, CompletionHandler>();
  readonly #removals = new Map<number, () => void>();
  readonly #worker: Worker;
  readonly #attention = new Int32Array(new SharedArrayBuffer(4));
  #lastId = 0;

  constructor() {
    this.#worker = new Worker(new URL('./completion-thread.js', import.meta.url), {
      workerData: this.#attention,
    });
    this.#worker.unref();
    this.#worker.on('message', (batch: CompletionBatch) => this.#handle(batch));
    this.#worker.on('error', (error: Error) => this.#fail(error));
  }

  add(handler: CompletionHandler, command: Omit<ThreadCommand & { kind: 'watch' }, 'id'>): number {
    const id = ++this.#lastId;
    this.#handlers.set(id, handler);
    this.#tell({ ...command, id });
    return id;
  }

  remove(id: number): Promise<void> {
    this.#handlers.delete(id);
    return new Promise((resolve) => {
      this.#removals.set(id, resolve);
      this.#tell({ kind: 'forget', id });
    });
  }

  wake(): void {
    Atomics.store(this.#attention, 0, 1);
    Atomics.notify(this.#attention, 0);
  }

  #tell(command: ThreadCommand): void {
    this.#worker.postMessage(command);
    this.wake();
  }

  #handle({ id, forgotten, completions }: CompletionBatch): void {
    if (forgotten) {
      this.#removals.get(id)?.();
      this.#removals.delete(id);
      return;
    }
    for (let i = 0; i + 2 < completions.length; i += 3) {
      const [request = 0, status = 0, bytes = 0] = completions.slice(i, i + 3);
      // Whoever handles the one before may have ended the queue.
      const handler = this.#handlers.get(id);
      if (status !== 0) handler?.onFailed(status);
      else handler?.onReceived(request, bytes);
    }
  }

  /** The thread has ended: no queue is looked at any more. */
  #fail({ message }: Error): void {
    running = undefined;
    for (const handler of this.#handlers.values()) handler.onFailed(-1);
    for (const resolve of this.#removals.values()) resolve();
    throw new TransportError('rdma', `the completion thread has failed: ${message}`);
  }
}

let running: CompletionThread | undefined;

function thread(): CompletionThread {
  return (running ??= new CompletionThread());
}
