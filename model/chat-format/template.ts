import { ModelError } from '../errors.js';
import { compileTemplate, type Render } from './jinja/compile-template.js';
import { partsOf, textOf, type ChatMessage, type Tool, type ToolCall } from './message.js';
import { reasoningVariables, traitsOf, type TemplateTraits } from './traits.js';

/** Texts of the tokens that templates name. */
export interface SpecialTexts {
  readonly bos: string;
  readonly eos: string;
}

export interface RenderOptions {
  /** Whether the text ends where the model's answer begins (default: true). */
  readonly addGenerationPrompt?: boolean;
  /** Tools that the model may use. */
  readonly tools?: readonly Tool[];
  /** Texts that the model is to draw on, as its template wants them. */
  readonly documents?: readonly unknown[];
  /** Whether the model is to think first, where the template lets one choose (default: the template's own choice). */
  readonly reasoning?: boolean;
  /** Further variables that the template may look at. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** What models without a template are given, as llama.cpp does. */
const chatMl = `{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;

/** A Jinja template, given what llama.cpp gives it. */
export class ChatTemplate {
  /** What the template can make something of. */
  readonly traits: TemplateTraits;
  readonly #render: Render;

  /** @throws ModelError when the template does not parse */
  constructor(
    readonly text = chatMl,
    private readonly specials: SpecialTexts,
  ) {
    this.#render = attempt(() => compileTemplate(text));
    this.traits = traitsOf(this.#render);
  }

  /** The text of a conversation. @throws ModelError when the template refuses it */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    const { addGenerationPrompt = true, tools = [], documents = [], reasoning } = options;
    return attempt(() =>
      this.#render({
        bos_token: this.specials.bos,
        eos_token: this.specials.eos,
        ...reasoningVariables(reasoning),
        ...options.variables,
        ...(tools.length > 0 ? { tools } : {}),
        ...(documents.length > 0 ? { documents } : {}),
        ...(addGenerationPrompt ? { add_generation_prompt: true } : {}),
        messages: this.#prepared(messages),
      }),
    );
  }

  #prepared(messages: readonly ChatMessage[]): readonly unknown[] {
    const { systemRole, argumentsAsText } = this.traits;
    const argumentsOf = argumentsAsText ? (call: ToolCall) => call : withObject;
    const given = systemRole ? messages : withoutSystem(messages);
    return given.map(({ content, reasoning_content: reasoning, tool_calls: calls, ...rest }) => ({
      ...rest,
      content: this.#content(content, reasoning),
      // Templates have two names for it.
      ...(reasoning ? { reasoning_content: reasoning, thinking: reasoning } : {}),
      ...(calls ? { tool_calls: calls.map(argumentsOf) } : {}),
    }));
  }

  #content(content: ChatMessage['content'], reasoning = ''): unknown {
    const { partsOnly, thinkingParts } = this.traits;
    if (thinkingParts && reasoning !== '')
      return [{ type: 'thinking', thinking: reasoning }, ...partsOf(content)];
    return partsOnly ? partsOf(content) : textOf(content);
  }
}

/** The system text goes into the message after it. */
function withoutSystem(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const [system, first, ...rest] = messages;
  if (system?.role !== 'system') return messages;
  if (!first) return [{ ...system, role: 'user' }];
  return [{ ...first, content: `${textOf(system.content)}\n${textOf(first.content)}` }, ...rest];
}

/** Templates go through the arguments of a call, or make JSON of them themselves. */
function withObject(call: ToolCall): unknown {
  try {
    const parsed: unknown = JSON.parse(call.function.arguments);
    return { ...call, function: { ...call.function, arguments: parsed } };
  } catch {
    return call;
  }
}

function attempt<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    const [line] = (error as Error).message.split('\n');
    throw new ModelError('text', `the model's chat template failed: ${line}`, { cause: error });
  }
}
