import type { Call } from './answer.js';
import { endsWith, type CallSyntax } from './call-syntax.js';
import { jsonElements, jsonEnd, jsonMembers, parseJson } from './json-text.js';

/** `{"name": …, "arguments": …}`, or `parameters`; undefined when it is none. */
export function namedCall(text: string): Call | undefined {
  const members = jsonMembers(text);
  const named = ['name', 'function', 'tool_name'].find((key) => members?.has(key)) ?? '';
  const name = parseJson(members?.get(named) ?? '');
  const given = members?.get('arguments') ?? members?.get('parameters');
  if (typeof name !== 'string' || given === undefined) return undefined;
  // Some models put the JSON into a string.
  const inner = parseJson(given);
  const id = parseJson(members?.get('id') ?? '');
  return {
    name,
    ...(typeof id === 'string' ? { id } : {}),
    arguments: typeof inner === 'string' ? inner : given,
  };
}

/** One call, or several in a list; undefined when one of them is none. */
export function namedCalls(text: string): readonly Call[] | undefined {
  const calls = (jsonElements(text) ?? [text]).map(namedCall);
  return calls.every((call) => call !== undefined) ? calls : undefined;
}

/** Llama 3: the answer is a call, and nothing else. */
export const bareCall = {
  syntax: { open: '', length: (text) => jsonEnd(text), read: namedCalls } satisfies CallSyntax,
  /** Whether an answer that begins so could be one; undefined while that is open. */
  couldBe(text: string): boolean | undefined {
    if (/^\s*(\{\s*("\w*)?)?$/.test(text)) return undefined;
    return /^\s*\{\s*"(name|function|type|parameters|arguments)"/.test(text);
  },
};

/** Llama 3.1 and later. */
export const pythonTag: CallSyntax = {
  open: '<|python_tag|>',
  length: (text) => (/^\s*\{/.test(text) ? jsonEnd(text) : undefined),
  read: namedCalls,
};

const mistralArguments = '[ARGS]';

/** Mistral: a list of calls, or in later versions a name and its arguments each time. */
export const mistralCalls: CallSyntax = {
  open: '[TOOL_CALLS]',
  inner: [mistralArguments, '[CALL_ID]'],
  length(text) {
    if (/^\s*[[{]/.test(text) && !text.trimStart().startsWith(mistralArguments))
      return jsonEnd(text);
    const begin = text.indexOf(mistralArguments);
    return begin < 0 ? undefined : jsonEnd(text, begin + mistralArguments.length);
  },
  read(text) {
    const match = /^\s*([\w.-]+)\s*(?:\[CALL_ID\]([^[]*))?\[ARGS\]([^]*)$/.exec(text);
    if (!match) return namedCalls(text);
    const [, name = '', id, given = ''] = match;
    if (parseJson(given) === undefined) return undefined;
    return [{ name, ...(id === undefined ? {} : { id }), arguments: given.trim() }];
  },
};

/** DeepSeek V3 and R1, whose arguments stand in a fence, and V3.1. */
export const deepseekCalls: CallSyntax = {
  open: '<｜tool▁calls▁begin｜>',
  inner: ['<｜tool▁call▁begin｜>', '<｜tool▁sep｜>', '<｜tool▁call▁end｜>', '<｜tool▁calls▁end｜>'],
  length: endsWith('<｜tool▁calls▁end｜>'),
  read: (text) =>
    everyCall(
      text,
      /<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>(?<fenced>[^\n]+)\n```json\n|(?<name>[^<]+)<｜tool▁sep｜>)(?<given>[^]*?)(?:\n```)?\s*<｜tool▁call▁end｜>/g,
    ),
};

/** Kimi K2, which numbers its calls: `functions.NAME:0`. */
export const kimiCalls: CallSyntax = {
  open: '<|tool_calls_section_begin|>',
  inner: [
    '<|tool_call_begin|>',
    '<|tool_call_argument_begin|>',
    '<|tool_call_end|>',
    '<|tool_calls_section_end|>',
  ],
  length: endsWith('<|tool_calls_section_end|>'),
  read: (text) =>
    everyCall(
      text,
      /<\|tool_call_begin\|>\s*(?<id>(?:functions\.)?(?<name>[^<:]+)(?::\d+)?)\s*<\|tool_call_argument_begin\|>(?<given>[^]*?)<\|tool_call_end\|>/g,
    ),
};

/** The calls in a text; undefined when there is none, or one whose arguments are no JSON. */
function everyCall(text: string, pattern: RegExp): readonly Call[] | undefined {
  const calls = [...text.matchAll(pattern)].map(({ groups = {} }) => ({
    name: (groups['name'] ?? groups['fenced'] ?? '').trim(),
    ...(groups['id'] === undefined ? {} : { id: groups['id'].trim() }),
    arguments: (groups['given'] ?? '').trim(),
  }));
  const areCalls = calls.every((call) => parseJson(call.arguments) !== undefined);
  return calls.length > 0 && areCalls ? calls : undefined;
}
