import { DaisychainError } from '../step/errors.js';

/** Why a model cannot be used. */
export type ModelErrorCode =
  /** The file is not there, or cannot be read. */
  | 'file'
  /** The contents contradict themselves, or end too soon. */
  | 'damaged'
  /** The contents are in order, but not supported here. */
  | 'unsupported'
  /** The chat template, or the tokenizer, refuses this text. */
  | 'text'
  /** The native libraries are not installed, or are of another version. */
  | 'library'
  /** What is closed was used. */
  | 'closed';

/** A model file or its contents cannot be used. The message is one line that names the cause and the remedy. */
export class ModelError extends DaisychainError<ModelErrorCode> {
  override readonly name = 'ModelError';
}

/** Text of unknown origin, for a message. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > longestQuote ? `${text.slice(0, longestQuote)}…` : text);
}

const longestQuote = 80;
