import { ModelError } from '../errors.js';
import type { MetadataValue } from '../tensor-source.js';

type Metadata = ReadonlyMap<string, MetadataValue>;

/** @throws ModelError when the key is missing or no string. */
export function metadataString(metadata: Metadata, key: string): string {
  return required(key, metadataStringOr(metadata, key, undefined));
}

/** @throws ModelError when the key is there but no string. */
export function metadataStringOr<Default>(
  metadata: Metadata,
  key: string,
  fallback: Default,
): string | Default {
  const value = metadata.get(key);
  if (value === undefined) return fallback;
  if (typeof value !== 'string') throw wrongType(key, 'a string');
  return value;
}

/** What a number may be: from and to are among it. */
export interface NumberRange {
  readonly from: number;
  readonly to: number;
  readonly isWhole?: boolean;
}

/** Whole numbers. */
export function whole(from: number, to: number): NumberRange {
  return { from, to, isWhole: true };
}

export function isWithin(value: number, { from, to, isWhole = false }: NumberRange): boolean {
  return value >= from && value <= to && (!isWhole || Number.isInteger(value));
}

/**
 * @param fallback for a key that is missing
 * @throws ModelError when the number is not within the range, or missing and without a fallback
 */
export function metadataNumberWithin(
  metadata: Metadata,
  key: string,
  range: NumberRange,
  fallback?: number,
): number {
  const value = required(key, metadataNumberOr(metadata, key, fallback));
  if (!isWithin(value, range))
    throw new ModelError(
      'damaged',
      `the model's metadata "${key}" is ${value}, not ${range.isWhole ? 'a whole number ' : ''}from ${range.from} to ${range.to}: the file is damaged`,
    );
  return value;
}

/** Per-layer arrays count as a number when all layers agree. @throws ModelError when it is no number. */
export function metadataNumberOr<Default>(
  metadata: Metadata,
  key: string,
  fallback: Default,
): number | Default {
  const value = metadata.get(key);
  if (value === undefined) return fallback;
  const number: MetadataValue | undefined =
    Array.isArray(value) && value.every((item) => item === value[0]) ? value[0] : value;
  if (typeof number !== 'number') throw wrongType(key, 'one number for all layers');
  return number;
}

function required<Value>(key: string, value: Value | undefined): Value {
  if (value === undefined)
    throw new ModelError(
      'damaged',
      `the model's metadata lacks "${key}": the file is damaged or too old`,
    );
  return value;
}

function wrongType(key: string, expected: string): ModelError {
  return new ModelError(
    'damaged',
    `the model's metadata "${key}" is not ${expected}: the file is damaged`,
  );
}
