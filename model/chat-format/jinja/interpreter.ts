import { Dictionary } from './dictionary.js';
import { filterOperand, present } from './filter-operand.js';
import { areEqual, methodOf } from './python.js';
import {
  booleanValue,
  Interpreter,
  functionValue,
  listValue,
  ObjectValue,
  type Environment,
  type Node,
  type Value,
} from './values.js';

interface ObjectLiteral extends Node {
  readonly value: ReadonlyMap<Node, Node>;
}
interface TupleLiteral extends Node {
  readonly value: readonly Node[];
}
interface MemberExpression extends Node {
  readonly computed: boolean;
  readonly object: Node;
  readonly property: Node & { readonly value?: unknown };
}
interface FilterExpression extends Node {
  readonly operand: Node;
  readonly filter: Node & {
    readonly value?: string;
    readonly callee?: { readonly value: string };
    /** `value` is what a literal says; named arguments have a part of the template there. */
    readonly args?: readonly (Node & { readonly value?: unknown })[];
  };
}
interface BinaryExpression extends Node {
  readonly operator: { readonly value: string };
  readonly left: Node;
  readonly right: Node;
}
interface For extends Node {
  readonly iterable: Node & { readonly lhs?: Node };
}

/** A part of a template whose value is known already. */
interface Known extends Node {
  readonly known: Value;
}
const known = (value: Value): Known => ({ type: 'Known', known: value });

/**
 * The package's interpreter, made to do what llama.cpp does and templates in the wild rely on: values that are not there
 * are empty texts and lists, keys of objects need not be text, tuples are lists, and lists grow.
 */
export class LenientInterpreter extends Interpreter {
  override evaluate(node: Node | undefined, environment: Environment): Value {
    switch (node?.type) {
      case 'Known':
        return (node as Known).known;
      case 'ObjectLiteral':
        return this.#object(node as ObjectLiteral, environment);
      case 'TupleLiteral':
        return listValue(
          (node as TupleLiteral).value.map((part) => this.evaluate(part, environment)),
        );
      case 'MemberExpression':
        return this.#member(node as MemberExpression, environment);
      case 'FilterExpression':
        return this.#filter(node as FilterExpression, environment);
      case 'BinaryExpression':
        return this.#binary(node as BinaryExpression, environment);
      case 'For':
        return this.#loop(node as For, environment);
      default:
        return super.evaluate(node, environment);
    }
  }

  #object({ value }: ObjectLiteral, environment: Environment): Value {
    return new Dictionary(
      [...value].map(([key, at]) => [
        this.evaluate(key, environment),
        this.evaluate(at, environment),
      ]),
    );
  }

  #member(node: MemberExpression, environment: Environment): Value {
    const object = this.evaluate(node.object, environment);
    const { property } = node;
    if (object instanceof Dictionary && node.computed && property.type !== 'SliceExpression')
      return object.at(this.evaluate(property, environment));
    const method = node.computed ? undefined : methodOf(object, String(property.value));
    if (method) return functionValue(method);
    return super.evaluate({ ...node, object: known(object) } as Node, environment);
  }

  #filter(node: FilterExpression, environment: Environment): Value {
    const operand = this.evaluate(node.operand, environment);
    const name = node.filter.callee?.value ?? node.filter.value ?? '';
    if (name === 'items' && operand instanceof ObjectValue) return operand.items();
    const inner = node.filter.args?.[0]?.value;
    if (name === 'map' && typeof inner === 'string')
      return this.#mapped(operand, inner, environment);
    const given = known(filterOperand(name, operand));
    return super.evaluate({ ...node, operand: given } as Node, environment);
  }

  /** Every element of a list through a filter. */
  #mapped(list: Value, name: string, environment: Environment): Value {
    const filter = { type: 'Identifier', value: name };
    const through = (element: Value) =>
      this.#filter({ type: 'FilterExpression', operand: known(element), filter }, environment);
    return listValue((present(list, true).value as Value[]).map(through));
  }

  #binary(node: BinaryExpression, environment: Environment): Value {
    const { value: operator } = node.operator;
    if (!['+', '~', '==', '!='].includes(operator)) return super.evaluate(node, environment);
    const left = this.evaluate(node.left, environment);
    const right = this.evaluate(node.right, environment);
    if (operator.endsWith('=')) return booleanValue(areEqual(left, right) === (operator === '=='));
    const given = { left: known(present(left)), right: known(present(right)) };
    return super.evaluate({ ...node, ...given }, environment);
  }

  #loop(node: For, environment: Environment): Value {
    const { iterable } = node;
    const list = known(present(this.evaluate(iterable.lhs ?? iterable, environment), true));
    const given = iterable.lhs ? { ...iterable, lhs: list } : list;
    return super.evaluate({ ...node, iterable: given } as Node, environment);
  }
}
