import { metadataNumberOr, metadataStringOr } from '../gguf/metadata.js';
import { ModelError } from '../errors.js';
import type { TensorSource } from '../tensor-source.js';
import type { AnswerParser, ParserOptions } from './answer.js';
import { answerFormatOf } from './answer-format.js';
import type { ChatMessage } from './message.js';
import { ChatTemplate, type RenderOptions, type SpecialTexts } from './template.js';

/** How a model is talked to: how a conversation becomes a prompt, and how its answers are read. */
export interface ChatFormat {
  /**
   * The prompt that a conversation makes.
   * @throws ModelError when the template refuses it, or has no choice where `options` make one
   */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
  /** @throws ModelError when the model cannot be had with, or without, reasoning */
  checkReasoning(wanted: boolean | undefined): void;
  /** Reads the answer to a prompt. */
  parser(prompt: string, options?: ParserOptions): AnswerParser;
  /** Texts of the special tokens that mean something in answers; others are left out of them. */
  readonly markers: ReadonlySet<string>;
}

/**
 * The format that a template describes; ChatML without one.
 * @throws ModelError when the template does not parse
 */
export function chatFormatOf(template: string | undefined, specials: SpecialTexts): ChatFormat {
  const rendering = new ChatTemplate(template, specials);
  const answers = answerFormatOf(rendering.text);
  const checkReasoning = (wanted: boolean | undefined) => {
    if (!rendering.traits.reasoningSwitch) checkHabit(answers.reasons, wanted);
  };
  return {
    markers: answers.markers,
    parser: (prompt, options) => answers.parser(prompt, options),
    checkReasoning,
    render(messages, options = {}) {
      checkReasoning(options.reasoning);
      return rendering.render(messages, options);
    },
  };
}

/** The format of a model. @throws ModelError when its template does not parse */
export function chatFormatOfModel({ metadata }: Pick<TensorSource, 'metadata'>): ChatFormat {
  const template = metadataStringOr(metadata, 'tokenizer.chat_template', undefined);
  return chatFormatOf(template, {
    bos: tokenText(metadata, 'bos'),
    eos: tokenText(metadata, 'eos'),
  });
}

/** Without a switch, a model does what it always does. */
function checkHabit(reasons: boolean, wanted = reasons): void {
  if (wanted === reasons) return;
  throw new ModelError(
    'unsupported',
    wanted
      ? 'the model does not reason: leave out --reasoning on'
      : "the model's template cannot switch reasoning off: leave out --reasoning off",
  );
}

function tokenText(metadata: TensorSource['metadata'], which: 'bos' | 'eos'): string {
  const id = metadataNumberOr(metadata, `tokenizer.ggml.${which}_token_id`, -1);
  const tokens = metadata.get('tokenizer.ggml.tokens');
  const text = Array.isArray(tokens) ? tokens[id] : undefined;
  return typeof text === 'string' ? text : '';
}
