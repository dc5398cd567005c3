const blank = /\s/;

/** Where a JSON value ends that begins at a place of a text; undefined when it does not end in it. */
export function jsonEnd(text: string, from = 0): number | undefined {
  let depth = 0;
  for (let at = skipBlanks(text, from); at < text.length;) {
    const character = text[at] as string;
    if (character === '"') {
      const end = stringEnd(text, at);
      if (end === undefined) return undefined;
      at = end;
    } else if (depth === 0 && !'{['.includes(character)) {
      const end = text.slice(at).search(/[\s,\]}]/);
      return end < 0 ? undefined : at + end;
    } else {
      if ('{['.includes(character)) depth++;
      if ('}]'.includes(character)) depth--;
      at++;
    }
    if (depth === 0) return at;
  }
  return undefined;
}

/** The members of a JSON object as they are written; undefined when it is none. */
export function jsonMembers(text: string): ReadonlyMap<string, string> | undefined {
  const parsed = parseJson(text);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined;
  const members = new Map<string, string>();
  let at = text.indexOf('{') + 1;
  while (text[skipBlanks(text, at)] === '"') {
    const key = skipBlanks(text, at);
    const keyEnd = stringEnd(text, key) as number;
    const value = skipBlanks(text, text.indexOf(':', keyEnd) + 1);
    const end = jsonEnd(text, value) as number;
    members.set(JSON.parse(text.slice(key, keyEnd)) as string, text.slice(value, end));
    at = skipBlanks(text, end);
    if (text[at] === ',') at++;
  }
  return members;
}

/** The elements of a JSON array as they are written; undefined when it is none. */
export function jsonElements(text: string): readonly string[] | undefined {
  if (!Array.isArray(parseJson(text))) return undefined;
  const elements: string[] = [];
  let at = skipBlanks(text, text.indexOf('[') + 1);
  while (text[at] !== ']') {
    const end = jsonEnd(text, at) as number;
    elements.push(text.slice(at, end));
    at = skipBlanks(text, end);
    if (text[at] === ',') at = skipBlanks(text, at + 1);
  }
  return elements;
}

/** What a JSON text says; undefined when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Where a marker is that does not stand in a string of JSON; negative when there is none. */
export function indexOutsideStrings(text: string, marker: string): number {
  if (!text.includes(marker)) return -1;
  for (let at = 0; at < text.length;) {
    if (text.startsWith(marker, at)) return at;
    if (text[at] !== '"') at++;
    else at = stringEnd(text, at) ?? text.length;
  }
  return -1;
}

function stringEnd(text: string, from: number): number | undefined {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at + 1;
  }
  return undefined;
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (at < text.length && blank.test(text[at] as string)) at++;
  return at;
}
