import type { Call } from './answer.js';
import { endsWith, type CallSyntax } from './call-syntax.js';
import { namedCalls } from './json-calls.js';
import { indexOutsideStrings, parseJson } from './json-text.js';
import type { Tool } from './message.js';

/** What calls and their arguments look like. Groups: `name`, `value`, and `isText` where the model says so. */
interface Elements {
  readonly call: RegExp;
  readonly argument: RegExp;
}

const functionElements: Elements = {
  call: /<function=(?<name>[^>]+)>(?<value>[^]*?)<\/function>/g,
  argument: /<parameter=(?<name>[^>]+)>\n?(?<value>[^]*?)\n?<\/parameter>/g,
};
const invokeElements: Elements = {
  call: /<(?:｜DSML｜)?invoke name="(?<name>[^"]+)">(?<value>[^]*?)<\/(?:｜DSML｜)?invoke>/g,
  argument:
    /<(?:｜DSML｜)?parameter name="(?<name>[^"]+)"(?: string="(?<isText>true|false)")?>(?<value>[^]*?)<\/(?:｜DSML｜)?parameter>/g,
};
const keyElements: Elements = {
  call: /^\s*(?<name>[^\s<]+)(?<value>[^]*)$/g,
  argument: /<arg_key>(?<name>[^]*?)<\/arg_key>\s*<arg_value>(?<value>[^]*?)<\/arg_value>/g,
};

/**
 * Calls between two tags, each pair of them a call: as JSON (Hermes, Qwen), as elements (Qwen3-Coder), or as keys and
 * values (GLM). Models of one family differ, and what they write says which it is.
 */
export function taggedCalls(open: string, close: string): CallSyntax {
  const isJson = (text: string) => /^\s*[[{]/.test(text);
  return {
    open,
    inner: [close],
    length(text) {
      const at = isJson(text) ? indexOutsideStrings(text, close) : text.indexOf(close);
      return at < 0 ? undefined : at + close.length;
    },
    read(text, tools) {
      const isWhole = text.endsWith(close);
      const body = isWhole ? text.slice(0, -close.length) : text;
      if (isJson(body)) return namedCalls(body.trim());
      if (body.includes('<function=')) return elementCalls(body, functionElements, tools);
      return isWhole ? elementCalls(body, keyElements, tools) : undefined;
    },
  };
}

/** DeepSeek from V3.2 on. */
export function dsmlCalls(element: string): CallSyntax {
  const calls = invokedCalls(`<｜DSML｜${element}>`, `</｜DSML｜${element}>`);
  // Templates put the tags together from parts.
  return { ...calls, sign: 'DSML', inner: ['｜DSML｜'] };
}

/** MiniMax: several calls between two tags. */
export function invokedCalls(open: string, close: string): CallSyntax {
  return {
    open,
    inner: [close],
    length: endsWith(close),
    read: (text, tools) => elementCalls(text, invokeElements, tools),
  };
}

function elementCalls(
  text: string,
  { call, argument }: Elements,
  tools: readonly Tool[],
): readonly Call[] | undefined {
  const calls = [...text.matchAll(call)].map(({ groups = {} }) => {
    const { name = '', value = '' } = groups;
    const types = argumentTypes(tools, name);
    const members = [...value.matchAll(argument)].map(({ groups: found = {} }) => {
      const isText = found['isText'] ?? String(types(found['name'] ?? '') === 'string');
      return `${JSON.stringify(found['name'])}:${argumentJson(found['value'] ?? '', isText === 'true')}`;
    });
    return { name, arguments: `{${members.join(',')}}` };
  });
  return calls.length > 0 ? calls : undefined;
}

/** Values are JSON or plain text, which only the tool's schema can tell where both make sense. */
function argumentJson(value: string, isText: boolean): string {
  return isText || parseJson(value) === undefined ? JSON.stringify(value) : value.trim();
}

/** The types of a tool's arguments by name, as far as its schema says. */
function argumentTypes(tools: readonly Tool[], name: string): (argument: string) => unknown {
  const tool = tools.find((candidate) => candidate.function.name === name);
  const schema = tool?.function.parameters as
    { properties?: Record<string, { type?: unknown } | undefined> } | undefined;
  return (argument) => schema?.properties?.[argument]?.type;
}
