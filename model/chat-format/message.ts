/** A piece of a message that has several. */
export interface ContentPart {
  readonly type: 'text';
  readonly text: string;
}

/** A tool that the model wants used. */
export interface ToolCall {
  readonly id?: string;
  readonly type: 'function';
  /** `arguments` is JSON text. */
  readonly function: { readonly name: string; readonly arguments: string };
}

/** A tool that the model may use. */
export interface Tool {
  readonly type: 'function';
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** JSON schema of the arguments. */
    readonly parameters?: unknown;
  };
}

/** One turn of a conversation, as chat completion APIs have it, since templates are written for that. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string | readonly ContentPart[];
  /** What the model thought before it answered. */
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly ToolCall[];
  /** Which call a tool's message answers. */
  readonly tool_call_id?: string;
  /** Name of the tool that answers. */
  readonly name?: string;
}

/** The text of a message, a line for each part. */
export function textOf(content: ChatMessage['content']): string {
  return typeof content === 'string' ? content : content.map(({ text }) => text).join('\n');
}

/** The parts of a message. */
export function partsOf(content: ChatMessage['content']): readonly ContentPart[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content;
}
