import { Piscina } from 'piscina';
import type { HashTask, PackTask } from './packing-task.js';

/** Threads that pack matrices and check files; they are started when there is something to do. */
export class PackingThreads implements AsyncDisposable {
  #pool: Piscina | undefined;

  constructor(readonly count: number) {}

  /** The task's bytes are another thread's from then on. */
  async pack(task: PackTask): Promise<void> {
    const transferList = [task.bytes.buffer as ArrayBuffer];
    await this.#started().run(task, { name: 'pack', transferList });
  }

  /** @param signal gives up @returns SHA-256 */
  async hash(task: HashTask, signal?: AbortSignal): Promise<Uint8Array> {
    const options = { name: 'hash', ...(signal ? { signal } : {}) };
    return (await this.#started().run(task, options)) as Uint8Array;
  }

  /** Ends what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool?.destroy();
  }

  #started(): Piscina {
    return (this.#pool ??= new Piscina({
      filename: new URL('packing-task.js', import.meta.url).href,
      minThreads: 1,
      maxThreads: this.count,
    }));
  }
}
