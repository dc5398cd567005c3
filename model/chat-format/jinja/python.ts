import { nullValue, textValue, undefinedValue, type Value } from './values.js';

type Method = (given: readonly Value[]) => Value;

/** What Python's lists and texts can do, and the package's cannot; undefined for anything else. */
export function methodOf({ type, value }: Value, name: string): Method | undefined {
  if (type === 'ArrayValue') return listMethod(value as Value[], name);
  if (type === 'StringValue') return stripMethod(value as string, name);
  return undefined;
}

function listMethod(list: Value[], name: string): Method | undefined {
  if (name === 'pop')
    return ([index]) => list.splice(Number(index?.value ?? -1), 1)[0] ?? undefinedValue;
  if (name !== 'append') return undefined;
  return (added) => {
    list.push(...added);
    return nullValue;
  };
}

/** Takes given characters away from the ends of a text. */
function stripMethod(text: string, name: string): Method | undefined {
  if (!['strip', 'lstrip', 'rstrip'].includes(name)) return undefined;
  return ([characters]) => {
    const goes = (character: string) =>
      characters ? String(characters.value).includes(character) : character.trim() === '';
    let [from, to] = [0, text.length];
    if (name !== 'rstrip') while (from < to && goes(text[from] as string)) from++;
    if (name !== 'lstrip') while (to > from && goes(text[to - 1] as string)) to--;
    return textValue(text.slice(from, to));
  };
}

/** Whether values are equal for Python: an empty text is not `false`, for one. */
export function areEqual({ type, value: a }: Value, { type: otherType, value: b }: Value): boolean {
  if (numeric.has(type) && numeric.has(otherType)) return Number(a) === Number(b);
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((one, i) => areEqual(one as Value, b[i] as Value));
}
const numeric = new Set(['BooleanValue', 'IntegerValue', 'FloatValue']);

/** A value as Python prints it. */
export function representation({ value }: Pick<Value, 'value'>): string {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'string') return `'${value.replaceAll("'", "\\'")}'`;
  if (Array.isArray(value)) return `[${(value as Value[]).map(representation).join(', ')}]`;
  if (typeof value === 'number') return String(value);
  if (!(value instanceof Map)) return '';
  const entries = [...(value as Map<string, Value>)];
  return `{${entries.map(([key, at]) => `'${key}': ${representation(at)}`).join(', ')}}`;
}
