import type { Cluster } from '../../app/cluster.js';
import { chatDefaults, samplingFrom } from '../../app/settings/choices.js';
import type { Settings } from '../../app/settings/settings.js';
import type { Conversation } from '../../coord/conversation.js';
import { CoordinatorError } from '../../coord/errors.js';
import type { ChatFormat } from '../../model/chat-format/chat-format.js';
import { ModelError } from '../../model/errors.js';
import type { Tokenizer } from '../../model/tokenizer.js';
import { answerPrompt, describeSummary } from '../answer.js';
import { describeSessions, type ChatSession } from './chat-session.js';
import { helpText, parseCommand, type ChatCommand } from './commands.js';
import { describeDrafts, describeStages, type Display } from './display.js';
import { InputAssembler } from './input-assembler.js';
import type { LineReader } from './line-reader.js';
import type { SessionFolder } from './session-folder.js';
import type { Transcript } from './transcript.js';

export interface ChatOptions {
  readonly cluster: Cluster;
  readonly conversation: Conversation;
  readonly tokenizer: Tokenizer;
  readonly format: ChatFormat;
  readonly transcript: Transcript;
  readonly session: ChatSession;
  readonly sessions: SessionFolder;
  readonly reader: LineReader;
  readonly display: Display;
  readonly settings: Settings;
}

/** A conversation at the terminal: reads, answers, and obeys commands until the user leaves. */
export class ChatLoop {
  readonly #input = new InputAssembler();
  readonly #left: Promise<undefined>;
  #leave!: () => void;
  #hasLeft = false;
  #saves = true;
  #answering: AbortController | undefined;

  constructor(private readonly options: ChatOptions) {
    this.#left = new Promise((resolve) => {
      this.#leave = () => {
        this.#hasLeft = true;
        resolve(undefined);
      };
    });
    options.reader.onInterrupt = () => this.interrupt();
  }

  /** Ctrl-C: stops an answer, or empties what is typed; else leaves. */
  interrupt(): void {
    const { reader } = this.options;
    if (this.#answering && !this.#answering.signal.aborted) return this.#answering.abort();
    if (this.#answering || (!this.#input.pending && !reader.hasText)) return this.leave();
    this.#input.discard();
    reader.clearLine();
  }

  /** Ends the chat at once. */
  leave(): void {
    this.#answering?.abort();
    this.#leave();
  }

  /** @throws CoordinatorError when a worker is lost, at the prompt too */
  async run(): Promise<void> {
    const { failure } = this.options.cluster.coordinator;
    const lost = failure.then((error) => Promise.reject(error));
    lost.catch(() => undefined);
    while (!this.#hasLeft) {
      const input = await Promise.race([this.#readInput(), lost, this.#left]);
      if (input === undefined) return;
      if (input.trim() === '') continue;
      const command = parseCommand(input);
      if (command?.name === 'exit') return;
      if (command) await this.#obey(command);
      else await Promise.race([this.#answer(input), this.#left]);
    }
  }

  async #readInput(): Promise<string | undefined> {
    const { reader, display } = this.options;
    for (;;) {
      const line = await reader.read(display.prompt(this.#input.pending));
      if (line === undefined) return undefined;
      const input = this.#input.push(line);
      if (input !== undefined) return input;
    }
  }

  async #obey(command: ChatCommand): Promise<void> {
    const { display, transcript, session, sessions, cluster, conversation } = this.options;
    switch (command.name) {
      case 'reset':
        session.reset();
        return display.note('a new conversation');
      case 'save':
        return this.#tell(() => `saved as "${session.save(command.argument || undefined)}"`);
      case 'load':
        return this.#tell(() => session.resume(sessions.find(command.argument || undefined)));
      case 'sessions':
        return display.note(describeSessions(sessions.list()));
      case 'stats': {
        const stats = await cluster.coordinator.stats();
        display.note(describeStages(stats, conversation.computedTokens, cluster.context));
        const { speculation } = cluster.coordinator;
        if (speculation) display.note(describeDrafts(speculation.stats));
        return;
      }
      case 'system':
        if (command.argument !== '') transcript.system = command.argument;
        return display.note(`system prompt: ${transcript.system ?? 'none'}`);
      case 'help':
        return display.note(helpText);
      case 'unknown':
        return display.warning(command.hint);
      default:
        return;
    }
  }

  /** Answers a message. One that cannot be answered leaves the conversation as it was. */
  async #answer(content: string): Promise<void> {
    const { cluster, conversation, tokenizer, format, transcript, display, settings } =
      this.options;
    this.#answering = new AbortController();
    let begun = false;
    try {
      const turn = transcript.begin(content);
      await cluster.coordinator.stats({ reset: true });
      const answer = await answerPrompt(
        conversation,
        tokenizer,
        format,
        turn,
        {
          sampling: samplingFrom(settings, chatDefaults),
          maxTokens: settings.maxTokens ?? cluster.context,
          signal: this.#answering.signal,
        },
        (piece) => {
          begun = true;
          display.answer(piece);
        },
      );
      if (begun) display.line();
      if (answer.tokens.length > 0) {
        transcript.finish(turn, answer);
        this.#save();
      }
      display.note(describeSummary(answer.summary));
      if (answer.summary.finishReason === 'context') display.warning(contextHint);
    } catch (error) {
      if (begun) display.line();
      display.warning(this.#remark(error));
    } finally {
      this.#answering = undefined;
    }
  }

  /** What can fail without harm to the chat. */
  #tell(act: () => string): void {
    const { display } = this.options;
    try {
      display.note(act());
    } catch (error) {
      display.warning((error as Error).message);
    }
  }

  /** A chat goes on where it cannot be saved. */
  #save(): void {
    if (!this.#saves) return;
    try {
      this.options.session.save();
    } catch (error) {
      this.#saves = false;
      this.options.display.warning(`this chat is not saved: ${(error as Error).message}`);
    }
  }

  /** What to say about a failure that the chat survives. @throws the failure, when it does not */
  #remark(error: unknown): string {
    if (error instanceof ModelError) return error.message;
    if (!(error instanceof CoordinatorError)) throw error;
    if (error.code === 'context') return `${error.message}; ${contextHint}`;
    if (error.code === 'step') return error.message;
    throw error;
  }
}

const contextHint =
  '/reset begins a new conversation, a larger --context makes room for longer ones';
