import { Template } from '@huggingface/jinja';
import { ModelError } from './errors.js';
import { metadataNumberOr, metadataStringOr } from './gguf/metadata.js';
import type { TensorSource } from './tensor-source.js';

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface RenderOptions {
  /** Whether the text ends where the model's answer begins. */
  readonly addGenerationPrompt: boolean;
  /** Further variables that the template may look at, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The chat format of a model: the Jinja template in its metadata. */
export class ChatTemplate {
  readonly #template: Template;
  readonly #tokens: { bos_token: string; eos_token: string };

  /** @throws ModelError when the model has no template, or one that does not parse. */
  constructor({ metadata }: Pick<TensorSource, 'metadata'>) {
    const text = metadataStringOr(metadata, 'tokenizer.chat_template', undefined);
    if (text === undefined)
      throw new ModelError(
        'unsupported',
        'the model has no chat template: use --raw and write its format yourself',
      );
    this.#template = attempt(() => new Template(text));
    this.#tokens = {
      bos_token: tokenText(metadata, 'bos'),
      eos_token: tokenText(metadata, 'eos'),
    };
  }

  /** The text of a conversation. @throws ModelError when the template refuses the messages. */
  render(messages: readonly ChatMessage[], options: RenderOptions): string {
    return attempt(() =>
      this.#template.render({
        ...this.#tokens,
        ...options.variables,
        messages,
        add_generation_prompt: options.addGenerationPrompt,
      }),
    );
  }
}

function tokenText(metadata: TensorSource['metadata'], which: 'bos' | 'eos'): string {
  const id = metadataNumberOr(metadata, `tokenizer.ggml.${which}_token_id`, -1);
  const tokens = metadata.get('tokenizer.ggml.tokens');
  const text = Array.isArray(tokens) ? tokens[id] : undefined;
  return typeof text === 'string' ? text : '';
}

function attempt<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    const [line] = (error as Error).message.split('\n');
    throw new ModelError('text', `the model's chat template failed: ${line}`, { cause: error });
  }
}
