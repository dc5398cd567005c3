import type { AnswerParser, ParserOptions } from './answer.js';
import type { CallSyntax } from './call-syntax.js';
import { dsmlCalls, invokedCalls, taggedCalls } from './element-calls.js';
import { HarmonyParser, harmonyMarkers } from './harmony-parser.js';
import { bareCall, deepseekCalls, kimiCalls, mistralCalls, pythonTag } from './json-calls.js';
import { TaggedParser, type ReasoningTags } from './tagged-parser.js';

/** How a model's answers are to be read. */
export interface AnswerFormat {
  /** Texts of tokens that mean something in answers. */
  readonly markers: ReadonlySet<string>;
  /** Whether the model thinks before it answers, at least sometimes. */
  readonly reasons: boolean;
  /** @param prompt what the answer continues, which may end within reasoning */
  parser(prompt: string, options?: ParserOptions): AnswerParser;
}

const callSyntaxes: readonly CallSyntax[] = [
  kimiCalls,
  deepseekCalls,
  dsmlCalls('function_calls'),
  dsmlCalls('tool_calls'),
  invokedCalls('<minimax:tool_call>', '</minimax:tool_call>'),
  mistralCalls,
  taggedCalls('<seed:tool_call>', '</seed:tool_call>'),
  taggedCalls('<tool_call>', '</tool_call>'),
  taggedCalls('<tool_calls>', '</tool_calls>'),
  taggedCalls('<|START_ACTION|>', '<|END_ACTION|>'),
];

const reasoningTags: readonly ReasoningTags[] = [
  { open: '<think>', close: '</think>' },
  { open: '<seed:think>', close: '</seed:think>' },
  { open: '[THINK]', close: '[/THINK]' },
  { open: '<|START_THINKING|>', close: '<|END_THINKING|>' },
];

/** Recognises how a model answers by the text of its template. */
export function answerFormatOf(template: string): AnswerFormat {
  if (template.includes('<|channel|>'))
    return {
      markers: new Set(harmonyMarkers),
      reasons: true,
      parser: (prompt) => new HarmonyParser(prompt),
    };
  const reasoning = reasoningTags.find(({ close }) => template.includes(close));
  const syntaxes = callSyntaxes.filter(({ open, sign = open }) => template.includes(sign));
  const answersWithCall = writesLlamaCalls(template);
  const calls = answersWithCall ? [...syntaxes, pythonTag] : syntaxes;
  const markers = calls.flatMap(({ open, inner = [] }) => [open, ...inner]);
  return {
    markers: new Set([...markers, ...(reasoning ? [reasoning.open, reasoning.close] : [])]),
    reasons: reasoning !== undefined,
    parser: (prompt, { tools = [] } = {}) =>
      new TaggedParser({
        reasoning,
        calls: tools.length > 0 ? calls : [],
        ...(answersWithCall && tools.length > 0 ? { bareCall } : {}),
        tools,
        beginsInReasoning: reasoning !== undefined && prompt.trimEnd().endsWith(reasoning.open),
      }),
  };
}

/** Llama 3's templates ask for calls as JSON, in words. */
function writesLlamaCalls(template: string): boolean {
  return /<\|start_header_id\|>/.test(template) && /"parameters": /.test(template);
}
