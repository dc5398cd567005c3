import type { Conversation } from '../../coord/conversation.js';
import { CoordinatorError } from '../../coord/errors.js';
import { textOf } from '../../model/chat-format/message.js';
import { formatTable } from '../format.js';
import type { SavedSession, Session, SessionFolder } from './session-folder.js';
import type { Transcript } from './transcript.js';

/** What chats are saved as that nobody gave a name. */
const unnamed = 'last';

export interface ChatSessionOptions {
  readonly folder: SessionFolder;
  readonly conversation: Pick<Conversation, 'save' | 'resume' | 'reset'>;
  readonly transcript: Transcript;
  readonly model: Session['model'];
}

/** The chat at the terminal, which is saved after every answer and can be gone on with. */
export class ChatSession {
  #name = unnamed;

  constructor(private readonly options: ChatSessionOptions) {}

  /** Saves the chat, from now on under this name. @throws UsageError, Error of the file system */
  save(name = this.#name): string {
    const { folder, transcript, conversation, model } = this.options;
    const { system, messages, finished } = transcript.saved;
    const { tokens, computed, prompts } = conversation.save();
    folder.save(name, {
      version: 1,
      savedAt: new Date().toISOString(),
      model,
      ...(system === undefined ? {} : { system }),
      messages: messages.map(({ role, content, reasoning_content }) => ({
        role: role === 'assistant' ? role : 'user',
        content: textOf(content),
        ...(reasoning_content === undefined ? {} : { reasoning_content }),
      })),
      finished,
      text: { tokens: [...tokens], computed, prompts: [...prompts] },
    });
    return (this.#name = name);
  }

  /** Goes on with a saved chat. @returns what to tell of it */
  resume({ name, session }: SavedSession): string {
    const { messages, savedAt, text, model, finished, system } = session;
    const { conversation, transcript } = this.options;
    const isHeld = model.fingerprint === this.options.model.fingerprint && this.#takes(text);
    if (!isHeld) conversation.reset();
    transcript.resume({ system, messages, finished }, isHeld);
    this.#name = name;
    return `"${name}" goes on: ${messages.length} messages, saved ${minuteOf(savedAt)}`;
  }

  /** Begins another chat; the one before stays as it was saved. */
  reset(): void {
    this.options.transcript.reset();
    this.options.conversation.reset();
    this.#name = unnamed;
  }

  /** A text that does not fit, or is none, is made anew from the messages. */
  #takes({ tokens, computed, prompts }: Session['text']): boolean {
    try {
      this.options.conversation.resume({ tokens: Int32Array.from(tokens), computed, prompts });
      return true;
    } catch (error) {
      if (error instanceof CoordinatorError && error.code === 'context') return false;
      throw error;
    }
  }
}

/** What there is to go on with. */
export function describeSessions(sessions: readonly SavedSession[]): string {
  if (sessions.length === 0) return 'no saved conversations';
  return formatTable(
    sessions.map(({ name, session: { savedAt, messages, model } }) => [
      name,
      minuteOf(savedAt),
      `${messages.length} messages`,
      model.name,
    ]),
  );
}

function minuteOf(time: string): string {
  return `${time.slice(0, 16).replace('T', ' ')} UTC`;
}
