import type { AnswerEvent, AnswerParser } from './answer.js';
import type { CallSyntax } from './call-syntax.js';
import { MarkedText } from './marked-text.js';
import type { Tool } from './message.js';

/** What reasoning stands between. */
export interface ReasoningTags {
  readonly open: string;
  readonly close: string;
}

export interface TaggedParserParts {
  readonly reasoning: ReasoningTags | undefined;
  readonly calls: readonly CallSyntax[];
  /** How a call looks that begins with the answer itself. */
  readonly bareCall?: { readonly syntax: CallSyntax; couldBe(text: string): boolean | undefined };
  readonly tools: readonly Tool[];
  /** Whether the prompt ends within reasoning. */
  readonly beginsInReasoning: boolean;
}

type State = 'begin' | 'text' | 'reasoning' | CallSyntax;

/** Takes answers apart in which reasoning and tool calls stand between markers, and everything else is text. */
export class TaggedParser implements AnswerParser {
  readonly #text = new MarkedText();
  #state: State;
  /** Blanks are left out around reasoning and calls. */
  #skipsBlanks = false;
  /** Those in front of a call, which belong to the text when it is none. */
  #blanks = '';
  #events: AnswerEvent[] = [];

  constructor(private readonly parts: TaggedParserParts) {
    this.#state = parts.beginsInReasoning ? 'reasoning' : this.#answerState();
    this.#skipsBlanks = parts.beginsInReasoning;
  }

  push(piece: string): AnswerEvent[] {
    this.#text.push(piece);
    while (this.#advance());
    return this.#taken();
  }

  end(): AnswerEvent[] {
    const rest = this.#text.take(Infinity);
    if (typeof this.#state === 'object') this.#finishCall(this.#state, rest);
    else this.#emit(this.#state === 'reasoning' ? 'reasoning' : 'text', rest);
    return this.#taken();
  }

  #answerState(): State {
    return this.parts.bareCall ? 'begin' : 'text';
  }

  /** Whether there may be more to do. */
  #advance(): boolean {
    switch (this.#state) {
      case 'begin':
        return this.#begin();
      case 'text':
        return this.#readText();
      case 'reasoning':
        return this.#readReasoning();
      default:
        return this.#readCall(this.#state);
    }
  }

  #begin(): boolean {
    const { bareCall } = this.parts;
    const couldBe = bareCall?.couldBe(this.#text.rest);
    if (couldBe === undefined) return false;
    this.#state = couldBe && bareCall ? bareCall.syntax : 'text';
    return true;
  }

  #readText(): boolean {
    const { reasoning, calls } = this.parts;
    const markers = [...(reasoning ? [reasoning.open] : []), ...calls.map(({ open }) => open)];
    const found = this.#text.takeTo(markers);
    const text = found ? found.before.trimEnd() : this.#text.takeTrimmed(markers);
    this.#emit('text', text);
    if (!found) return false;
    const call = calls.find(({ open }) => open === found.marker);
    if (call) this.#blanks = found.before.slice(text.length);
    else this.#skipsBlanks = true;
    this.#state = call ?? 'reasoning';
    return true;
  }

  #readReasoning(): boolean {
    const markers = [this.parts.reasoning?.close ?? ''];
    const found = this.#text.takeTo(markers);
    this.#emit('reasoning', found ? found.before.trimEnd() : this.#text.takeTrimmed(markers));
    if (!found) return false;
    this.#skipsBlanks = true;
    this.#state = this.#answerState();
    return true;
  }

  #readCall(syntax: CallSyntax): boolean {
    const length = syntax.length(this.#text.rest);
    if (length === undefined) return false;
    this.#finishCall(syntax, this.#text.take(length));
    this.#state = 'text';
    return true;
  }

  /** What makes no sense as a call is text. */
  #finishCall(syntax: CallSyntax, body: string): void {
    const calls = syntax.read(body, this.parts.tools);
    for (const call of calls ?? []) this.#events.push({ type: 'tool-call', ...call });
    if (calls) this.#skipsBlanks = true;
    else this.#emit('text', this.#blanks + syntax.open + body);
  }

  #emit(type: 'text' | 'reasoning', given: string): void {
    const text = this.#skipsBlanks ? given.trimStart() : given;
    if (text === '') return;
    this.#skipsBlanks = false;
    this.#events.push({ type, text });
  }

  #taken(): AnswerEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }
}
