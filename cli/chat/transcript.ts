import type { ChatFormat } from '../../model/chat-format/chat-format.js';
import type { ChatMessage } from '../../model/chat-format/message.js';
import { promptTokens } from '../../model/prompt-tokens.js';
import type { Tokenizer } from '../../model/tokenizer.js';
import type { Answer } from '../answer.js';
import type { Mark, TokenText } from '../../step/token-text.js';

/** A user's message on its way to an answer. */
export interface Turn {
  readonly messages: readonly ChatMessage[];
  /** The whole text that the model is to continue, and its tokens. */
  readonly text: string;
  readonly tokens: Int32Array;
}

/** The turns that are finished, as text and in tokens of the conversation. */
interface Finished {
  readonly text: string;
  readonly tokens: number;
}

/** A transcript as it can be kept. */
export interface SavedTranscript {
  readonly system: string | undefined;
  readonly messages: readonly ChatMessage[];
  readonly finished: Finished;
}

const nothing: Finished = { text: '', tokens: 0 };

/**
 * The messages of a conversation. A new turn begins with exactly the tokens that the conversation holds wherever the
 * template allows: tokenizing an answer again need not give the tokens that the model chose.
 */
export class Transcript {
  #messages: readonly ChatMessage[] = [];
  #finished = nothing;
  /** How many of those tokens the conversation still begins with. */
  readonly #kept: Mark;

  /**
   * @param held tokens of the conversation that answers
   * @param reasoning whether the model is to think first; undefined leaves it to its template
   */
  constructor(
    private readonly format: Pick<ChatFormat, 'render'>,
    private readonly tokenizer: Pick<Tokenizer, 'encode' | 'piece' | 'bosToken'>,
    private readonly held: Pick<TokenText, 'tokens' | 'mark'>,
    public system: string | undefined,
    private readonly reasoning?: boolean,
  ) {
    this.#kept = held.mark();
  }

  /** Messages without the system prompt. */
  get length(): number {
    return this.#messages.length;
  }

  /** The prompt for a user's message. Changes nothing. @throws ModelError when the template refuses. */
  begin(content: string): Turn {
    const messages: ChatMessage[] = [...this.#messages, { role: 'user', content }];
    const system: ChatMessage[] =
      this.system === undefined ? [] : [{ role: 'system', content: this.system }];
    const text = this.format.render([...system, ...messages], {
      ...(this.reasoning === undefined ? {} : { reasoning: this.reasoning }),
    });
    return { messages, text, tokens: this.#tokenize(text) };
  }

  /** Takes over a turn with its answer. */
  finish(turn: Turn, answer: Pick<Answer, 'text' | 'reasoning' | 'tokens'>): void {
    const { text, reasoning } = answer;
    const said = { role: 'assistant', content: text, reasoning_content: reasoning } as const;
    this.#messages = [...turn.messages, said];
    this.#finished = {
      text: turn.text + this.#textOf(answer.tokens),
      tokens: turn.tokens.length + answer.tokens.length,
    };
    this.#kept.at = this.#finished.tokens;
  }

  get saved(): SavedTranscript {
    const finished = this.#isHeld ? this.#finished : nothing;
    return { system: this.system, messages: this.#messages, finished };
  }

  /** Goes on with another one. @param isHeld whether the conversation holds its tokens; otherwise they are made anew */
  resume({ system, messages, finished }: SavedTranscript, isHeld: boolean): void {
    this.system = system;
    this.#messages = messages;
    this.#finished = isHeld ? finished : nothing;
    this.#kept.at = this.#finished.tokens;
  }

  /** Forgets all messages, but not the system prompt. */
  reset(): void {
    this.#messages = [];
    this.#finished = nothing;
  }

  get #isHeld(): boolean {
    return this.#kept.at === this.#finished.tokens;
  }

  #tokenize(text: string): Int32Array {
    const { text: begin, tokens: count } = this.#finished;
    if (count === 0 || !this.#isHeld || !text.startsWith(begin))
      return promptTokens(text, this.tokenizer);
    const rest = text.slice(begin.length);
    const added = this.tokenizer.encode(rest, { parseSpecial: true, addSpecial: false });
    const tokens = new Int32Array(count + added.length);
    tokens.set(this.held.tokens.subarray(0, count));
    tokens.set(added, count);
    return tokens;
  }

  #textOf(tokens: readonly number[]): string {
    return Buffer.concat(tokens.map((token) => this.tokenizer.piece(token, true))).toString();
  }
}
