import { setImmediate as immediate } from 'node:timers/promises';

/** What completed on a queue. */
export interface Completion {
  /** The queue's number. */
  readonly queue: number;
  /** The id of the work request. */
  readonly request: number;
  /** enum ibv_wc_status; 0 is success. */
  readonly status: number;
  /** Bytes that arrived. */
  readonly bytes: number;
}

/** Numbers before the ring's entries. */
const at = { commands: 0, sending: 1, state: 2, written: 3, handled: 4, entries: 5 } as const;
const states = { running: 0, ending: 1, ended: 2 } as const;

/** More than the requests of sixteen links. */
const ringEntries = 1024;
const entryNumbers = 4;

/**
 * Memory that the completion thread shares with the main one: completions on their way from it, and what it is to know
 * at once. Far quicker than messages.
 */
export class CompletionRing {
  readonly #numbers: Int32Array;
  #read = 0;

  /** @param shared of another thread's ring; without it a new one */
  constructor(
    readonly shared = new SharedArrayBuffer(4 * (at.entries + ringEntries * entryNumbers)),
  ) {
    this.#numbers = new Int32Array(shared);
  }

  // The completion thread's side.

  write({ queue, request, status, bytes }: Completion): void {
    const count = Atomics.load(this.#numbers, at.written);
    this.#numbers.set([queue, request, status, bytes], entryAt(count));
    Atomics.store(this.#numbers, at.written, (count + 1) | 0);
  }

  /** Wakes whoever waits for completions. */
  notify(): void {
    Atomics.notify(this.#numbers, at.written);
  }

  /** Whether there were commands since the last call. */
  takeCommands(): boolean {
    return Atomics.exchange(this.#numbers, at.commands, 0) !== 0;
  }

  /** Whether something was sent since the last call: an answer may follow. */
  takeSending(): boolean {
    return Atomics.exchange(this.#numbers, at.sending, 0) !== 0;
  }

  /** Waits until all that was written is handled: before that, little else can complete. */
  waitHandled(timeoutMs: number): void {
    const handled = Atomics.load(this.#numbers, at.handled);
    if (handled === Atomics.load(this.#numbers, at.written)) return;
    Atomics.wait(this.#numbers, at.handled, handled, timeoutMs);
  }

  /** Waits for commands. */
  sleep(timeoutMs: number): void {
    Atomics.wait(this.#numbers, at.commands, 0, timeoutMs);
  }

  get isEnding(): boolean {
    return Atomics.load(this.#numbers, at.state) !== states.running;
  }

  ended(): void {
    Atomics.store(this.#numbers, at.state, states.ended);
    Atomics.notify(this.#numbers, at.state);
  }

  // The main thread's side.

  /** Takes what has completed, waiting for it; what was taken before is handled. */
  async take(): Promise<Completion[]> {
    Atomics.store(this.#numbers, at.handled, this.#read);
    Atomics.notify(this.#numbers, at.handled);
    for (;;) {
      const count = Atomics.load(this.#numbers, at.written);
      // However many come, the event loop has other things to do in between.
      if (count !== this.#read) {
        await immediate();
        return this.#takeUntil(count);
      }
      const { async, value } = Atomics.waitAsync(this.#numbers, at.written, count);
      if (async) {
        await value;
        return this.#takeUntil(Atomics.load(this.#numbers, at.written));
      }
    }
  }

  /** There are commands. */
  command(): void {
    Atomics.store(this.#numbers, at.commands, 1);
    Atomics.notify(this.#numbers, at.commands);
  }

  /** Something is being sent. */
  sending(): void {
    Atomics.store(this.#numbers, at.sending, 1);
  }

  /** Has the thread end, and waits for that. */
  end(timeoutMs: number): void {
    Atomics.compareExchange(this.#numbers, at.state, states.running, states.ending);
    this.command();
    Atomics.wait(this.#numbers, at.state, states.ending, timeoutMs);
  }

  #takeUntil(count: number): Completion[] {
    const taken: Completion[] = [];
    for (; this.#read !== count; this.#read = (this.#read + 1) | 0) {
      const entry = entryAt(this.#read);
      const [queue = 0, request = 0, status = 0, bytes = 0] = this.#numbers.subarray(
        entry,
        entry + entryNumbers,
      );
      taken.push({ queue, request, status, bytes });
    }
    return taken;
  }
}

/** Where the entry of a count begins; counts wrap around at 2^32, a multiple of the entries. */
function entryAt(count: number): number {
  return at.entries + ((count >>> 0) % ringEntries) * entryNumbers;
}
