import {
  functionValue,
  listValue,
  nullValue,
  ObjectValue,
  undefinedValue,
  type Value,
} from './values.js';

type Entry = readonly [key: Value, value: Value];

/** An object whose keys need not be text, as the package's have to be. */
export class Dictionary extends ObjectValue {
  readonly #entries: readonly Entry[];

  constructor(entries: readonly Entry[]) {
    super(new Map(entries.map(([key, value]) => [String(key.value), value])));
    this.#entries = entries;
  }

  /** What stands at a key, or is called like it. */
  at(key: Value): Value {
    const name = String(key.value);
    return this.value.get(name) ?? this.builtins.get(name) ?? undefinedValue;
  }

  override get builtins(): Map<string, Value> {
    return new Map([
      ...super.builtins,
      ['get', functionValue(([key, otherwise]) => this.#get(key, otherwise))],
      ['dictsort', functionValue(() => pairs([...this.#entries].sort(byKey)))],
    ]);
  }

  override items(): Value {
    return pairs(this.#entries);
  }

  override keys(): Value {
    return listValue(this.#entries.map(([key]) => key));
  }

  #get(key: Value | undefined, otherwise = nullValue): Value {
    return this.value.get(String(key?.value)) ?? otherwise;
  }
}

const pairs = (entries: readonly Entry[]) => listValue(entries.map((entry) => listValue(entry)));

function byKey([{ value: a }]: Entry, [{ value: b }]: Entry): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a) < String(b) ? -1 : 1;
}
