import type { Conversation } from '../coord/conversation.js';
import type { GenerateOptions, GenerationSummary } from '../coord/generation.js';
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

/** One line about an answer: how fast it was, and how much of the prompt was computed before. */
export function describeSummary(summary: GenerationSummary): string {
  const { ttftMs, tokPerSec, outputTokens, reusedTokens, promptTokens } = summary;
  const parts = [
    `TTFT ${Math.round(ttftMs)} ms`,
    `${tokPerSec.toFixed(1)} tok/s`,
    `${outputTokens} tokens`,
    `${reusedTokens} of ${promptTokens} prompt tokens reused`,
  ];
  const ends: Record<GenerationSummary['finishReason'], string[]> = {
    stop: [],
    length: ['cut off at --max-tokens'],
    context: ['cut off: the context is full'],
    cancelled: ['stopped'],
  };
  return [...parts, ...ends[summary.finishReason]].join(' · ');
}
