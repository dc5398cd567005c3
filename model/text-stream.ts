import type { Tokenizer } from './tokenizer.js';

/** Turns tokens into text as they come. A character that spans tokens appears when it is whole. */
export class TextStream {
  // A byte order mark is text like any other: the decoder must not drop it.
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(private readonly tokenizer: Pick<Tokenizer, 'piece'>) {}

  /** The characters that this token completes; empty for special tokens. */
  push(id: number): string {
    return this.#decoder.decode(this.tokenizer.piece(id), { stream: true });
  }

  /** What is left at the end: a replacement character when the last one stayed incomplete. */
  end(): string {
    return this.#decoder.decode();
  }
}
