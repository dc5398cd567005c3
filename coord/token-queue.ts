/** Tokens that may wait for their reader; then whoever computes them waits. */
const capacity = 256;

/** Tokens on their way from the pipeline to a reader. A slow reader holds up its own text, and nothing else. */
export class TokenQueue implements AsyncIterable<number> {
  readonly #tokens: number[] = [];
  #ended = false;
  #full: Promise<void> | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  /** While too many tokens wait: resolves when the reader has taken half of them, or left. */
  get full(): Promise<void> | undefined {
    return this.#full;
  }

  push(token: number): void {
    this.#tokens.push(token);
    this.#wakeReader?.();
    if (this.#ended || this.#tokens.length < capacity) return;
    this.#full ??= new Promise((resolve) => (this.#wakeWriter = resolve));
  }

  /** No more tokens will come, or none are wanted. */
  end(): void {
    this.#ended = true;
    this.#wakeReader?.();
    this.#hasRoom();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<number, void> {
    for (;;) {
      const token = this.#tokens.shift();
      if (token !== undefined) {
        if (this.#tokens.length <= capacity / 2) this.#hasRoom();
        yield token;
      } else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wakeReader = resolve));
    }
  }

  #hasRoom(): void {
    this.#full = undefined;
    this.#wakeWriter?.();
  }
}
