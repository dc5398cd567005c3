import type { AnswerEvent, AnswerParser } from './answer.js';
import { parseJson } from './json-text.js';
import { MarkedText } from './marked-text.js';

const messageMarker = '<|message|>';
/** What a message ends with, and what begins the next one where a model leaves that out. */
const closers = ['<|end|>', '<|return|>', '<|call|>', '<|start|>', '<|channel|>'];

/** All markers of gpt-oss's format. */
export const harmonyMarkers = [...closers, messageMarker, '<|constrain|>'];

type Content =
  | { readonly type: 'text' | 'reasoning' }
  | { readonly type: 'tool-call'; readonly name: string; given: string };

/**
 * Takes answers of gpt-oss apart: messages with a header that says on which channel they are, and to whom they go.
 * OpenAI's harmony response format.
 */
export class HarmonyParser implements AnswerParser {
  readonly #text = new MarkedText();
  /** The header so far; undefined within the content of a message. */
  #header: string | undefined = '';
  #content: Content = { type: 'text' };
  #events: AnswerEvent[] = [];

  /** @param prompt what the answer continues */
  constructor(prompt: string) {
    const start = prompt.lastIndexOf('<|start|>');
    if (start >= 0) this.push(prompt.slice(start));
    this.#taken();
  }

  push(piece: string): AnswerEvent[] {
    this.#text.push(piece);
    while (this.#header === undefined ? this.#readContent() : this.#readHeader());
    return this.#taken();
  }

  end(): AnswerEvent[] {
    const rest = this.#text.take(Infinity);
    if (this.#header === undefined) {
      this.#add(rest);
      this.#finish();
    } else if (!/^\s*(assistant)?\s*(to=|<\||$)/.test(this.#header + rest)) {
      // An answer without a header.
      this.#content = { type: 'text' };
      this.#add(this.#header + rest);
    }
    return this.#taken();
  }

  #readHeader(): boolean {
    const found = this.#text.takeTo([messageMarker, '<|start|>', '<|end|>']);
    if (!found) return false;
    const header = `${this.#header ?? ''}${found.before}`;
    this.#header = found.marker === messageMarker ? undefined : '';
    if (found.marker === messageMarker) this.#content = contentOf(header);
    return true;
  }

  #readContent(): boolean {
    const found = this.#text.takeTo(closers);
    this.#add(found ? found.before : this.#text.takeBefore(closers));
    if (!found) return false;
    this.#finish();
    this.#header = found.marker === '<|channel|>' ? found.marker : '';
    return true;
  }

  #add(text: string): void {
    if (this.#content.type === 'tool-call') this.#content.given += text;
    else if (text !== '') this.#events.push({ type: this.#content.type, text });
  }

  /** A call is told when it is whole; what makes no sense as one is text. */
  #finish(): void {
    if (this.#content.type !== 'tool-call') return;
    const { name, given } = this.#content;
    if (parseJson(given) !== undefined)
      this.#events.push({ type: 'tool-call', name, arguments: given.trim() });
    else if (given !== '') this.#events.push({ type: 'text', text: given });
    this.#content = { type: 'text' };
  }

  #taken(): AnswerEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }
}

function contentOf(header: string): Content {
  const recipient = /\bto=(?:functions\.)?([^\s<]+)/.exec(header)?.[1];
  if (recipient !== undefined) return { type: 'tool-call', name: recipient, given: '' };
  return { type: /<\|channel\|>\s*analysis/.test(header) ? 'reasoning' : 'text' };
}
