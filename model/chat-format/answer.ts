import type { Tool } from './message.js';

/** A tool that the model wants used. */
export interface Call {
  readonly name: string;
  /** What the model calls this call, where it gives it a name. */
  readonly id?: string;
  /** JSON text. */
  readonly arguments: string;
}

/** What an answer consists of. Neighbouring pieces of text, or of reasoning, belong together. */
export type AnswerEvent =
  | { readonly type: 'text' | 'reasoning'; readonly text: string }
  | ({ readonly type: 'tool-call' } & Call);

/** Takes an answer apart as it comes. What comes of it does not depend on how the text is cut into pieces. */
export interface AnswerParser {
  /** Takes more text. What could be the beginning of a marker stays back. */
  push(piece: string): AnswerEvent[];
  /** What is left when the answer has ended, wherever that was. */
  end(): AnswerEvent[];
}

export interface ParserOptions {
  /** The tools that the model may use; without any, what looks like a call is text. */
  readonly tools?: readonly Tool[];
}
