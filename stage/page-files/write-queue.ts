/** Bytes that may wait to be written. */
const mostWaitingBytes = 128e6;

/**
 * One writer, behind whoever has something to write. What is to be written is made only when there is room for it.
 */
export class WriteQueue {
  #waitingBytes = 0;
  #last: Promise<void> = Promise.resolve();
  #waiting: (() => void)[] = [];

  /**
   * @param bytes that `make` gives, about
   * @param make gives what to write, or nothing
   * @param write never rejects
   * @returns when `make` is done. @throws what it throws
   */
  async add<Data>(
    bytes: number,
    make: () => Promise<Data | undefined>,
    write: (data: Data) => Promise<void>,
  ): Promise<void> {
    while (this.#waitingBytes > 0 && this.#waitingBytes + bytes > mostWaitingBytes)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#waitingBytes += bytes;
    const free = () => {
      this.#waitingBytes -= bytes;
      for (const wake of this.#waiting.splice(0)) wake();
    };
    try {
      const data = await make();
      if (data === undefined) return free();
      this.#last = this.#last.then(() => write(data)).then(free);
    } catch (error) {
      free();
      throw error;
    }
  }

  /** Resolves when all is written that is to be written now. */
  written(): Promise<void> {
    return this.#last;
  }
}
