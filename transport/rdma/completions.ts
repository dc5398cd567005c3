import { setImmediate as immediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import koffi from 'koffi';
import { orThrow, threadFailed } from './causes.js';
import { CompletionRing } from './completion-ring.js';
import type { Forgotten, ThreadCommand } from './completion-thread.js';
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

  /** Something is being sent: the thread looks for answers without a pause for a moment. */
  sending(): void {
    thread().sending();
  }

  /** Ends it, when the queue pair is gone. Resolves when the thread does not look at it any more. */
  async close(): Promise<void> {
    await thread().remove(this.#id);
    loadVerbs().destroyCompletionQueue(this.pointer);
    if (this.#channel !== undefined) loadVerbs().destroyChannel?.(this.#channel);
  }
}

/** Milliseconds that the end of the process waits for the thread, which sleeps for less. */
const endMs = 200;

/** Milliseconds of handling frames after which the event loop gets a turn. */
const longestTurnMs = 2;

/** The thread that looks at completion queues. It does next to nothing when there are none. */
class CompletionThread {
  readonly #handlers = new Map<number, CompletionHandler>();
  readonly #removals = new Map<number, () => void>();
  readonly #ring = new CompletionRing();
  readonly #worker: Worker;
  #lastId = 0;

  constructor() {
    this.#worker = new Worker(new URL('./completion-thread.js', import.meta.url), {
      workerData: this.#ring.shared,
    });
    this.#worker.unref();
    this.#worker.on('message', (id: Forgotten) => {
      this.#removals.get(id)?.();
      this.#removals.delete(id);
    });
    this.#worker.on('error', () => this.#fail());
    // Ended in the middle of a native call, the thread would take the process with it.
    process.once('exit', () => this.#ring.end(endMs));
    void this.#handleAll();
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

  sending(): void {
    this.#ring.sending();
  }

  #tell(command: ThreadCommand): void {
    this.#worker.postMessage(command);
    this.#ring.command();
  }

  async #handleAll(): Promise<never> {
    for (;;) {
      let begin = performance.now();
      for (const { queue, request, status, bytes } of await this.#ring.take()) {
        if (performance.now() - begin > longestTurnMs) {
          await immediate();
          begin = performance.now();
        }
        // Whoever handled the one before may have ended the queue.
        const handler = this.#handlers.get(queue);
        if (status !== 0) handler?.onFailed(status);
        else handler?.onReceived(request, bytes);
      }
    }
  }

  /** The thread has ended: no queue is looked at any more. */
  #fail(): void {
    running = undefined;
    for (const handler of this.#handlers.values()) handler.onFailed(threadFailed);
    for (const resolve of this.#removals.values()) resolve();
  }
}

let running: CompletionThread | undefined;

function thread(): CompletionThread {
  return (running ??= new CompletionThread());
}
