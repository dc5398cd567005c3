import { Worker } from 'node:worker_threads';
import type { CompletionQueue } from './completions.js';
import { EventSignals } from './event-signals.js';
import type { EventCommand, Forgotten } from './event-thread.js';
import { SpinTime } from './spin-time.js';

/** Milliseconds that the end of the process waits for the event thread, which sleeps for less. */
const endMs = 200;

/** Milliseconds between two looks where the library has no events. */
const pauseMs = 1;

/**
 * Looks at all completion queues of the process. For a short while after something was sent or has arrived it looks once
 * in every turn of the event loop, which is quicker than being woken by another thread and lets everything else have its
 * turn. Then a thread sleeps until a device signals.
 */
export class CompletionWatch {
  static #running: CompletionWatch | undefined;
  readonly #queues = new Map<CompletionQueue, number>();
  readonly #removals = new Map<number, () => void>();
  readonly #signals = new EventSignals();
  readonly #spinTime = new SpinTime();
  readonly #worker: Worker;
  #isLooking = false;
  #pause: NodeJS.Timeout | undefined;
  #lastId = 0;

  private constructor() {
    this.#worker = new Worker(new URL('./event-thread.js', import.meta.url), {
      workerData: this.#signals.shared,
    });
    this.#worker.unref();
    this.#worker.on('message', (id: Forgotten) => {
      this.#removals.get(id)?.();
      this.#removals.delete(id);
    });
    // Ended in the middle of a native call, the thread would take the process with it.
    process.once('exit', () => this.#signals.end(endMs));
    void this.#followEvents();
  }

  /** The one of this process. */
  static get running(): CompletionWatch {
    return (CompletionWatch.#running ??= new CompletionWatch());
  }

  add(queue: CompletionQueue): void {
    const id = ++this.#lastId;
    this.#queues.set(queue, id);
    const { events } = queue;
    if (events) this.#tell({ kind: 'watch', id, queue: queue.pointer, ...events });
    this.wake();
  }

  /** Resolves when the event thread has let go of it. */
  remove(queue: CompletionQueue): Promise<void> {
    const id = this.#queues.get(queue) ?? 0;
    this.#queues.delete(queue);
    if (!queue.events) return Promise.resolve();
    return new Promise((resolve) => {
      this.#removals.set(id, resolve);
      this.#tell({ kind: 'forget', id });
    });
  }

  /** Looks from now on, for as long as completions usually take to come. */
  wake(): void {
    this.#spinTime.expect(performance.now());
    if (this.#isLooking) return;
    this.#isLooking = true;
    clearTimeout(this.#pause);
    setImmediate(() => this.#look());
  }

  #look(): void {
    const found = this.#takeAll();
    const now = performance.now();
    if (found) this.#spinTime.found(now);
    if (found || this.#spinTime.goesOn(now)) setImmediate(() => this.#look());
    else this.#rest();
  }

  #takeAll(): boolean {
    let found = false;
    for (const queue of this.#queues.keys()) if (queue.take()) found = true;
    return found;
  }

  #rest(): void {
    this.#isLooking = false;
    let hasEvents = true;
    for (const queue of this.#queues.keys()) {
      if (queue.events) queue.requestEvent();
      else hasEvents = false;
    }
    // What completed before the request gives no event.
    if (this.#takeAll()) return this.wake();
    if (!hasEvents) this.#pause = setTimeout(() => this.#lookOnce(), pauseMs).unref();
  }

  #lookOnce(): void {
    if (this.#takeAll()) this.wake();
    else this.#pause = setTimeout(() => this.#lookOnce(), pauseMs).unref();
  }

  async #followEvents(): Promise<never> {
    for (let seen = 0; ;) {
      seen = await this.#signals.moreEvents(seen);
      this.wake();
    }
  }

  #tell(command: EventCommand): void {
    this.#worker.postMessage(command);
    this.#signals.command();
  }
}
