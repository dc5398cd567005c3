import type { Conversation, GenerateOptions, GenerationSummary } from '../coord/conversation.js';
import { TextStream } from '../model/text-stream.js';
import type { Tokenizer } from '../model/tokenizer.js';

/** An answer as far as it came. */
export interface Answer {
  readonly text: string;
  /** Generated token ids, with the one that ended the answer. */
  readonly tokens: readonly number[];
  readonly summary: GenerationSummary;
}

/**
 * Has a conversation continue a prompt, and shows the text as it comes; also what there is when it fails midway.
 * @throws CoordinatorError
 */
export async function answerPrompt(
  conversation: Conversation,
  tokenizer: Tokenizer,
  prompt: Int32Array,
  options: Omit<GenerateOptions, 'isEnd'>,
  show: (piece: string) => void,
): Promise<Answer> {
  const stream = new TextStream(tokenizer);
  const tokens: number[] = [];
  let text = '';
  const add = (piece: string) => {
    text += piece;
    if (piece !== '') show(piece);
  };
  const generation = conversation.generate(prompt, {
    ...options,
    isEnd: (token) => tokenizer.isEndOfGeneration(token),
  });
  try {
    for (;;) {
      const { value, done } = await generation.next();
      if (done) {
        add(stream.end());
        return { text, tokens, summary: value };
      }
      tokens.push(value);
      add(stream.push(value));
    }
  } catch (error) {
    add(stream.end());
    throw error;
  }
}
