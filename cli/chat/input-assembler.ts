const fence = '"""';

/** Puts lines together to inputs: a backslash at the end continues a line, `"""` opens and closes a block. */
export class InputAssembler {
  #lines: string[] = [];
  #inBlock = false;

  /** Whether an input has begun and is not complete. */
  get pending(): boolean {
    return this.#inBlock || this.#lines.length > 0;
  }

  /** Takes a line. @returns the input that it completes, if it does */
  push(line: string): string | undefined {
    const opens = !this.pending && line.trimStart().startsWith(fence);
    const content = opens ? line.trimStart().slice(fence.length) : line;
    if (opens) this.#inBlock = true;
    return this.#inBlock ? this.#pushInBlock(content, opens) : this.#pushLine(content);
  }

  /** Forgets what has begun. */
  discard(): void {
    this.#lines = [];
    this.#inBlock = false;
  }

  #pushInBlock(content: string, isFirst: boolean): string | undefined {
    const closes = content.trimEnd().endsWith(fence);
    const kept = closes ? content.trimEnd().slice(0, -fence.length) : content;
    // What stands beside the quotes belongs to the block; an empty rest does not.
    if (kept !== '' || !(isFirst || closes)) this.#lines.push(kept);
    return closes ? this.#complete() : undefined;
  }

  #pushLine(content: string): string | undefined {
    const continues = content.endsWith('\\');
    this.#lines.push(continues ? content.slice(0, -1) : content);
    return continues ? undefined : this.#complete();
  }

  #complete(): string {
    const input = this.#lines.join('\n');
    this.discard();
    return input;
  }
}
