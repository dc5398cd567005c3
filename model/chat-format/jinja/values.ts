import * as jinja from '@huggingface/jinja';

// The package's own declarations do not resolve from a module: these are of what is used of it.

/** A value while a template is rendered. */
export interface Value {
  readonly type: string;
  readonly value: unknown;
}

/** An object: the text of its keys, and what stands there. */
export interface ObjectValue extends Value {
  readonly value: Map<string, Value>;
  readonly builtins: Map<string, Value>;
  items(): Value;
  keys(): Value;
}

/** A part of a template. */
export interface Node {
  readonly type: string;
}

/** The variables of a template. */
export interface Environment {
  set(name: string, value: unknown): Value;
}

interface Package {
  readonly Environment: new () => Environment;
  readonly Interpreter: new (environment: Environment) => {
    run(program: Node): Value;
    evaluate(node: Node | undefined, environment: Environment): Value;
  };
  readonly tokenize: (
    text: string,
    options: { lstrip_blocks: boolean; trim_blocks: boolean },
  ) => unknown;
  readonly parse: (tokens: unknown) => Node;
}

export const { Environment, Interpreter, tokenize, parse } = jinja as unknown as Package;

const valueOf = (content: unknown) => new Environment().set('value', content);
const classOf = <Class>(example: unknown) => valueOf(example).constructor as Class;

// The package exports instances of its classes only.
export const ObjectValue = classOf<new (value: Map<string, Value>) => ObjectValue>({});
const ArrayValue = classOf<new (value: readonly Value[]) => Value>([]);
const FunctionValue = classOf<new (run: (values: readonly Value[]) => Value) => Value>(() => null);

export const undefinedValue = valueOf(undefined);
export const nullValue = valueOf(null);
export const emptyText = valueOf('');
export const booleanValue = (given: boolean): Value => valueOf(given);
export const textValue = (text: string): Value => valueOf(text);
export const listValue = (values: readonly Value[]): Value => new ArrayValue(values);
export const functionValue = (run: (values: readonly Value[]) => Value): Value =>
  new FunctionValue(run);
