import { formatTime } from './format-time.js';
import { LenientInterpreter } from './interpreter.js';
import { Environment, parse, tokenize } from './values.js';

/** Renders a template with variables. */
export type Render = (variables: Readonly<Record<string, unknown>>) => string;

/**
 * Compiles a Jinja template, as chat templates are meant: blocks leave no lines behind.
 * @throws Error when it does not parse; what it returns throws when the template refuses its variables
 */
export function compileTemplate(text: string): Render {
  const tokens = tokenize(text.replaceAll('\r\n', '\n'), {
    lstrip_blocks: true,
    trim_blocks: true,
  });
  const program = parse(tokens);
  return (variables) => {
    const environment = new Environment();
    for (const [name, value] of Object.entries({ ...globals(), ...variables }))
      environment.set(name, value);
    return String(new LenientInterpreter(environment).run(program).value);
  };
}

function globals(): Record<string, unknown> {
  const now = new Date();
  return {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range,
    raise_exception: (message: string) => {
      throw new Error(message);
    },
    strftime_now: (format: string) => formatTime(now, format),
    date_string: formatTime(now, '%d %b %Y'),
    datetime: formatTime(now, '%b %d %Y'),
  };
}

function range(first: number, end?: number, step = 1): number[] {
  const [from, to] = end === undefined ? [0, first] : [first, end];
  const length = Math.max(0, Math.ceil((to - from) / step));
  return Array.from({ length }, (_, i) => from + i * step);
}
