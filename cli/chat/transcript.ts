import type { ChatMessage, ChatTemplate } from '../../model/chat-template.js';
import type { Tokenizer } from '../../model/tokenizer.js';
import { promptTokens } from '../../model/prompt-tokens.js';

/** A user's message on its way to an answer. */
export interface Turn {
  readonly messages: readonly ChatMessage[];
  /** The whole text that the model is to continue, and its tokens. */
  readonly text: string;
  readonly tokens: Int32Array;
}

/**
 * The messages of a conversation, and the tokens that stages hold of it. A new turn begins with exactly those tokens
 * wherever the template allows: tokenizing an answer again need not give the tokens that the model chose.
 */
export class Transcript {
  #messages: readonly ChatMessage[] = [];
  #heldText = '';
  #heldTokens: readonly number[] = [];

  constructor(
    private readonly template: Pick<ChatTemplate, 'render'>,
    private readonly tokenizer: Pick<Tokenizer, 'encode' | 'piece' | 'bosToken'>,
    public system: string | undefined,
  ) {}

  /** Messages without the system prompt. */
  get length(): number {
    return this.#messages.length;
  }

  /** The prompt for a user's message. Changes nothing. @throws ModelError when the template refuses. */
  begin(content: string): Turn {
    const messages: ChatMessage[] = [...this.#messages, { role: 'user', content }];
    const system: ChatMessage[] =
      this.system === undefined ? [] : [{ role: 'system', content: this.system }];
    const text = this.template.render([...system, ...messages], { addGenerationPrompt: true });
    return { messages, text, tokens: this.#tokenize(text) };
  }

  /** Takes over a turn with its answer. */
  finish(turn: Turn, answer: { readonly text: string; readonly tokens: readonly number[] }): void {
    this.#messages = [...turn.messages, { role: 'assistant', content: answer.text }];
    this.#heldTokens = [...turn.tokens, ...answer.tokens];
    this.#heldText = turn.text + this.#textOf(answer.tokens);
  }

  /** Forgets all messages, but not the system prompt. */
  reset(): void {
    this.#messages = [];
    this.#heldText = '';
    this.#heldTokens = [];
  }

  #tokenize(text: string): Int32Array {
    if (this.#heldText === '' || !text.startsWith(this.#heldText))
      return promptTokens(text, this.tokenizer);
    const rest = text.slice(this.#heldText.length);
    const added = this.tokenizer.encode(rest, { parseSpecial: true, addSpecial: false });
    return Int32Array.of(...this.#heldTokens, ...added);
  }

  #textOf(tokens: readonly number[]): string {
    return Buffer.concat(tokens.map((token) => this.tokenizer.piece(token, true))).toString();
  }
}
