/** Tokens that may wait for their reader; then whoever computes them waits. */
const capacity = 256;

/** Tokens on their way from the pipeline to a reader. A slow reader holds up its own text, and nothing else. */
export class TokenQueue implements AsyncIterable<number> {
  readonly #tokens: number[] = [];
  #ended = false;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  /** Adds a token. @returns a promise while the queue is full: it resolves when the reader has taken half, or left */
  push(token: number): Promise<void> | undefined {
    this.#tokens.push(token);
    this.#wakeReader?.();
    if (this.#ended || this.#tokens.length < capacity) return undefined;
    return new Promise((resolve) => (this.#wakeWriter = resolve));
  }

  /** No more tokens will come, or none are wanted. */
  end(): void {
    this.#ended = true;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<number, void> {
    for (;;) {
      const token = this.#tokens.shift();
      if (token !== undefined) {
        if (this.#tokens.length <= capacity / 2) this.#wakeWriter?.();
        yield token;
      } else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wakeReader = resolve));
    }
  }
}
