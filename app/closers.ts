/** Things to close in the end, the last one first. All are closed, whatever some of them throw. */
export class Closers implements AsyncDisposable {
  readonly #closers: (() => Promise<void> | void)[] = [];

  add(close: () => Promise<void> | void): void {
    this.#closers.push(close);
  }

  /** Closes what was added since the last time. */
  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse())
      try {
        await close();
      } catch {
        // What fails to close is gone anyway; the others must still be closed.
      }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
