import type { Call } from './answer.js';
import type { Tool } from './message.js';

/** How a model writes that it wants a tool used. */
export interface CallSyntax {
  /** What it begins with. */
  readonly open: string;
  /** By what a template shows that it is meant; without, by what a call begins with. */
  readonly sign?: string;
  /** Texts of further tokens that stand in it. */
  readonly inner?: readonly string[];
  /**
   * How long the text is that follows what it begins with, with what it ends with; undefined when it has not ended yet.
   */
  length(text: string): number | undefined;
  /** The calls in a text of that length, or in one that was cut off; undefined when it makes no sense. */
  read(text: string, tools: readonly Tool[]): readonly Call[] | undefined;
}

/** For what ends with a marker. */
export const endsWith = (close: string) => (text: string) => {
  const at = text.indexOf(close);
  return at < 0 ? undefined : at + close.length;
};
