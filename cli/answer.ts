import type { Conversation } from '../coord/conversation.js';
import type { GenerateOptions, GenerationSummary } from '../coord/generation.js';
import type { AnswerEvent } from '../model/chat-format/answer.js';
import type { ChatFormat } from '../model/chat-format/chat-format.js';
import { TextStream } from '../model/text-stream.js';
import type { Tokenizer } from '../model/tokenizer.js';

/** An answer as far as it came. */
export interface Answer {
  readonly text: string;
  /** What the model thought before; empty when it did not. */
  readonly reasoning: string;
  /** Generated token ids, with the one that ended the answer. */
  readonly tokens: readonly number[];
  readonly summary: GenerationSummary;
}

/** What to continue, and how to read what comes. */
export interface Question {
  readonly text: string;
  readonly tokens: Int32Array;
}

/** A piece of an answer, to be shown. */
export interface AnswerPiece {
  readonly type: 'text' | 'reasoning';
  readonly text: string;
}

/**
 * Has a conversation continue a prompt, and shows the answer as it comes; also what there is when it fails midway.
 * @throws CoordinatorError
 */
export async function answerPrompt(
  conversation: Conversation,
  tokenizer: Tokenizer,
  format: Pick<ChatFormat, 'markers' | 'parser'>,
  question: Question,
  options: Omit<GenerateOptions, 'isEnd'>,
  show: (piece: AnswerPiece) => void,
): Promise<Answer> {
  const stream = new TextStream(tokenizer, format.markers);
  const parser = format.parser(question.text);
  const tokens: number[] = [];
  const said = { text: '', reasoning: '' };
  const add = (events: readonly AnswerEvent[]) => {
    for (const piece of events.map(shown)) {
      said[piece.type] += piece.text;
      show(piece);
    }
  };
  const end = () => add([...parser.push(stream.end()), ...parser.end()]);
  const generation = conversation.generate(question.tokens, {
    ...options,
    isEnd: (token) => tokenizer.isEndOfGeneration(token),
  });
  try {
    for (;;) {
      const { value, done } = await generation.next();
      if (done) {
        end();
        return { ...said, tokens, summary: value };
      }
      tokens.push(value);
      add(parser.push(stream.push(value)));
    }
  } catch (error) {
    end();
    throw error;
  }
}

/** Nobody offers tools here, but a model may ask for some all the same. */
function shown(event: AnswerEvent): AnswerPiece {
  if (event.type !== 'tool-call') return event;
  return { type: 'text', text: `${event.name} ${event.arguments}` };
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
