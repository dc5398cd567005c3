/** Numbers that both threads see. */
const at = { commands: 0, state: 1, events: 2, count: 3 } as const;
const states = { running: 0, ending: 1, ended: 2 } as const;

/** What the event thread and the main one tell each other at once, through shared memory. */
export class EventSignals {
  readonly #numbers: Int32Array;

  /** @param shared of the other thread's signals; without it new ones */
  constructor(readonly shared = new SharedArrayBuffer(4 * at.count)) {
    this.#numbers = new Int32Array(shared);
  }

  // The event thread's side.

  /** Whether there were commands since the last call. */
  takeCommands(): boolean {
    return Atomics.exchange(this.#numbers, at.commands, 0) !== 0;
  }

  /** Waits for commands. */
  waitForCommands(): void {
    Atomics.wait(this.#numbers, at.commands, 0);
  }

  /** Something has completed. */
  event(): void {
    Atomics.add(this.#numbers, at.events, 1);
    Atomics.notify(this.#numbers, at.events);
  }

  get isEnding(): boolean {
    return Atomics.load(this.#numbers, at.state) !== states.running;
  }

  ended(): void {
    Atomics.store(this.#numbers, at.state, states.ended);
    Atomics.notify(this.#numbers, at.state);
  }

  // The main thread's side.

  /** There are commands. */
  command(): void {
    Atomics.store(this.#numbers, at.commands, 1);
    Atomics.notify(this.#numbers, at.commands);
  }

  /** Resolves when there are more events than the last time. @returns their number, for the next call */
  async moreEvents(than: number): Promise<number> {
    const { async, value } = Atomics.waitAsync(this.#numbers, at.events, than);
    if (async) await value;
    return Atomics.load(this.#numbers, at.events);
  }

  /** Has the thread end, and waits for that. */
  end(timeoutMs: number): void {
    Atomics.compareExchange(this.#numbers, at.state, states.running, states.ending);
    this.command();
    Atomics.wait(this.#numbers, at.state, states.ending, timeoutMs);
  }
}
