/** More segments than can be in flight: 64 steps of 64 sequences. */
const remembered = 4096;

/**
 * What is known of segments, each named by its step's id and its sequence. Only the newest are remembered: of most of
 * them nobody is told when they are done.
 */
export class SegmentMemory<Value> {
  readonly #values = new Map<string, Value>();

  get(step: number, sequence: number): Value | undefined {
    return this.#values.size === 0 ? undefined : this.#values.get(key(step, sequence));
  }

  set(step: number, sequence: number, value: Value): void {
    this.#values.set(key(step, sequence), value);
    if (this.#values.size <= remembered) return;
    const [oldest] = this.#values.keys();
    if (oldest !== undefined) this.#values.delete(oldest);
  }

  /** @returns whether it was known */
  delete(step: number, sequence: number): boolean {
    return this.#values.size > 0 && this.#values.delete(key(step, sequence));
  }
}

function key(step: number, sequence: number): string {
  return `${step} ${sequence}`;
}
