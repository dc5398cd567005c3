import os from 'node:os';
import { Worker } from 'node:worker_threads';

/** Threads that keep every core busy. */
export class Burners {
  readonly #threads = Array.from(
    { length: os.availableParallelism() },
    () => new Worker('for (;;) Math.sqrt(2);', { eval: true }),
  );

  async end(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }
}
