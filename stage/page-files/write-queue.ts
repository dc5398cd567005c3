/** Bytes that may wait to be written. */
const mostWaitingBytes = 256e6;

/** One writer, behind whoever has something to write. */
export class WriteQueue {
  #waitingBytes = 0;
  #last: Promise<void> = Promise.resolve();

  /** Whether so many bytes may wait: always when none do. */
  hasRoom(bytes: number): boolean {
    return this.#waitingBytes === 0 || this.#waitingBytes + bytes <= mostWaitingBytes;
  }

  /** @param write writes so many bytes, and never rejects */
  add(bytes: number, write: () => Promise<void>): void {
    this.#waitingBytes += bytes;
    this.#last = this.#last.then(write).then(() => void (this.#waitingBytes -= bytes));
  }

  /** Resolves when all is written that is to be written now. */
  written(): Promise<void> {
    return this.#last;
  }
}
