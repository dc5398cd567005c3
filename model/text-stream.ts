import type { Tokenizer } from './tokenizer.js';

/** Turns tokens into text as they come. A character that spans tokens appears when it is whole. */
export class TextStream {
  // A byte order mark is text like any other: the decoder must not drop it.
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  /** @param markers texts of the special tokens that are part of the text */
  constructor(
    private readonly tokenizer: Pick<Tokenizer, 'piece'>,
    private readonly markers: ReadonlySet<string> = new Set(),
  ) {}

  /** The characters that this token completes; empty for special tokens other than markers. */
  push(id: number): string {
    const bytes = this.tokenizer.piece(id);
    if (bytes.length === 0) return this.#marker(id);
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** What is left at the end: a replacement character when the last one stayed incomplete. */
  end(): string {
    return this.#decoder.decode();
  }

  #marker(id: number): string {
    if (this.markers.size === 0) return '';
    const text = Buffer.from(this.tokenizer.piece(id, true)).toString();
    return this.markers.has(text) ? this.end() + text : '';
  }
}
