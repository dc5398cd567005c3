import { z } from 'zod';
import type { WorkerAddress } from '../../coord/remote-worker.js';

/** One setting: its flag, what it may be, and what users are told about it. */
export interface Setting<Value> {
  /** Flags as commander writes them. */
  readonly flag: string;
  readonly help: string;
  /** Completes the sentence "expected …". */
  readonly expected: string;
  readonly schema: z.ZodType<Value>;
  /** For values with a path in them, which a config file gives relative to itself: makes it absolute. */
  readonly relocate?: (value: string, resolve: (path: string) => string) => string;
}

type Told = Pick<Setting<unknown>, 'flag' | 'help'>;

/** The port that workers listen on unless told otherwise. */
export const defaultPort = 7070;

export function text(told: Told): Setting<string> {
  return { ...told, expected: 'text', schema: z.string() };
}

export function path(told: Told): Setting<string> {
  return {
    ...told,
    expected: 'a path',
    schema: z.string().min(1),
    relocate: (value, resolve) => resolve(value),
  };
}

/** `ngram`, `oracle:0.8`, a path, or `ngram+` and a path. */
export function draft(told: Told): Setting<string> {
  const repetition = 'ngram+';
  return {
    ...path(told),
    expected: 'a path, ngram, ngram+ and a path, or oracle:SHARE',
    relocate: (value, resolve) => {
      if (value === 'ngram' || value.startsWith('oracle:')) return value;
      const isCombined = value.startsWith(repetition);
      return isCombined ? repetition + resolve(value.slice(repetition.length)) : resolve(value);
    },
  };
}

export function toggle(told: Told): Setting<boolean> {
  return { ...told, expected: 'true or false', schema: z.boolean() };
}

export function wholeNumber(told: Told, from: number, to: number): Setting<number> {
  const expected =
    to === Infinity ? `a whole number of ${from} or more` : `a whole number from ${from} to ${to}`;
  return { ...told, expected, schema: fromText(z.int().min(from).max(to)) };
}

/** Bytes as a number, or as text like 20GB. */
export function bytes(told: Told): Setting<number> {
  const schema = z.preprocess(
    (value) => (typeof value === 'string' ? (parseBytes(value) ?? value) : value),
    z.int().min(0),
  );
  return { ...told, expected: 'a size like 500MB or 20GB', schema };
}

export function share(told: Told): Setting<number> {
  const schema = fromText(z.number().min(0).max(1));
  return { ...told, expected: 'a number from 0 to 1', schema };
}

export function numberBetween(told: Told, from: number, to: number): Setting<number> {
  const schema = fromText(z.number().min(from).max(to));
  return { ...told, expected: `a number from ${from} to ${to}`, schema };
}

export function oneOf<Name extends string>(told: Told, names: readonly Name[]): Setting<Name> {
  return {
    ...told,
    expected: `one of ${names.join(', ')}`,
    schema: z.enum(names as readonly [Name, ...Name[]]),
  };
}

/** One name, or several as a list or as text with commas. */
export function someOf<Name extends string>(told: Told, names: readonly Name[]): Setting<Name[]> {
  const schema = z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',') : [value].flat()),
    z.array(z.enum(names as readonly [Name, ...Name[]])).min(1),
  );
  return {
    ...told,
    expected: `one of ${names.join(', ')}, or one for each link`,
    schema,
  };
}

/** Counts as a list, or as text with commas. */
export function layerCounts(told: Told): Setting<number[]> {
  const schema = z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',') : [value].flat()),
    z.array(fromText(z.int().min(0).max(10_000))).min(1),
  );
  return { ...told, expected: 'layer counts like 13,3', schema };
}

export function addresses(told: Told): Setting<WorkerAddress[]> {
  const address = z.string().transform((value, context) => {
    const parsed = parseAddress(value);
    if (parsed) return parsed;
    context.addIssue('not an address');
    return z.NEVER;
  });
  return {
    ...told,
    expected: 'HOST:PORT, like 192.168.1.7:7070 or [fe80::7]:7070',
    schema: z.preprocess((value) => [value].flat(), z.array(address).min(1)),
  };
}

/** HOST, HOST:PORT, [IPv6] or [IPv6]:PORT. */
export function parseAddress(value: string): WorkerAddress | undefined {
  const match = /^(?:\[([0-9a-f:.%\w]+)\]|([^\s:[\]/]+))(?::(\d{1,5}))?$/i.exec(value.trim());
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? defaultPort);
  return host && port >= 1 && port <= 65_535 ? { host, port } : undefined;
}

const units: Readonly<Record<string, number>> = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 };

function parseBytes(value: string): number | undefined {
  const [, number, unit = 'b'] = /^(\d+(?:\.\d+)?) ?([kmgt]?b)?$/i.exec(value.trim()) ?? [];
  return number === undefined
    ? undefined
    : Math.round(Number(number) * (units[unit.toLowerCase()] ?? 1));
}

/** Flags are text: numbers among them become numbers, anything else is left for the schema to refuse. */
function fromText<Schema extends z.ZodType<number>>(schema: Schema): z.ZodType<number> {
  return z.preprocess(
    (value) => (typeof value === 'string' && value.trim() !== '' ? Number(value) : value),
    schema,
  );
}
