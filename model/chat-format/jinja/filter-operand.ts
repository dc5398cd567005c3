import { representation } from './python.js';
import { emptyText, listValue, textValue, type Value } from './values.js';

/** Filters that say themselves what they make of nothing. */
const takeNothing = new Set(['default', 'd', 'tojson', 'safe']);
/** Filters of texts, which make a text of anything else first. */
const ofTexts = new Set(['string', 'upper', 'lower', 'title', 'capitalize', 'trim', 'replace']);
/** Filters of lists. */
const ofLists = new Set(
  'list join map selectattr rejectattr sort reverse unique first last'.split(' '),
);

const isNothing = ({ type }: Value) => type === 'UndefinedValue' || type === 'NullValue';
const isPrinted = ({ type }: Value) =>
  type === 'StringValue' || type === 'IntegerValue' || type === 'FloatValue';

/** What a filter is to be given so that it does what Python does. */
export function filterOperand(filter: string, operand: Value): Value {
  if (takeNothing.has(filter)) return operand;
  if (ofTexts.has(filter) && !isNothing(operand) && !isPrinted(operand))
    return textValue(representation(operand));
  return present(operand, ofLists.has(filter));
}

/** A value, or an empty text or list in place of nothing. */
export function present(value: Value, asList = false): Value {
  if (!isNothing(value)) return value;
  return asList ? listValue([]) : emptyText;
}
