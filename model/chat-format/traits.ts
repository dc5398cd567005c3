import type { Render } from './jinja/compile-template.js';

/** What a template can make something of, found out by rendering. */
export interface TemplateTraits {
  /** Whether a system message comes out. */
  readonly systemRole: boolean;
  /** Whether content has to be a list of parts. */
  readonly partsOnly: boolean;
  /** Whether arguments of tool calls have to be the JSON text that the model wrote. */
  readonly argumentsAsText: boolean;
  /** Whether reasoning is a part of an answer's content, as Mistral has it. */
  readonly thinkingParts: boolean;
  /** Whether reasoning can be switched off. */
  readonly reasoningSwitch: boolean;
}

/** What templates call the switch for reasoning. They have it on unless told otherwise, as llama.cpp does. */
export function reasoningVariables(wanted?: boolean): Readonly<Record<string, unknown>> {
  if (wanted === undefined) return { enable_thinking: true };
  const switches = { enable_thinking: wanted, thinking: wanted };
  return wanted ? switches : { ...switches, thinking_budget: 0 };
}

const probe = 'What is asked?';

/** Renders a few conversations and looks at what comes out. */
export function traitsOf(render: Render): TemplateTraits {
  const result = (messages: readonly unknown[], variables = {}) => {
    try {
      return render({
        bos_token: '',
        eos_token: '',
        messages,
        add_generation_prompt: true,
        ...variables,
      });
    } catch {
      return '';
    }
  };
  const takesText = result([{ role: 'user', content: probe }]).includes(probe);
  const parts = (text: string) => [{ type: 'text', text }];
  const partsOnly = !takesText && result([{ role: 'user', content: parts(probe) }]).includes(probe);
  const message = (role: string, text: string, more = {}) => ({
    role,
    content: partsOnly ? parts(text) : text,
    ...more,
  });
  const conversation = [message('user', probe)];
  const showsArgument = (given: unknown) =>
    result([...conversation, message('assistant', '', { tool_calls: [call(given)] })]).includes(
      argument,
    );
  const thinking = result([...conversation, { role: 'assistant', content: thinkingContent }]);
  return {
    systemRole: result([message('system', instruction), ...conversation]).includes(instruction),
    partsOnly,
    argumentsAsText: !showsArgument({ argument }) && showsArgument(JSON.stringify({ argument })),
    // A template that prints the list as it is would show the names of its members.
    thinkingParts: thinking.includes(thought) && !/["']thinking["']/.test(thinking),
    reasoningSwitch:
      result(conversation, reasoningVariables(true)) !==
      result(conversation, reasoningVariables(false)),
  };
}

const instruction = 'Be brief.';
const thought = 'What is thought';
const thinkingContent = [
  { type: 'thinking', thinking: thought },
  { type: 'text', text: 'What is said' },
];
const argument = 'What is given';
const call = (given: unknown) => ({
  id: 'call00001',
  type: 'function',
  function: { name: 'probe', arguments: given },
});
