import path from 'node:path';
import { ModelError } from '../errors.js';

/**
 * The files of a split model (`…-00001-of-0000N.gguf`) in order, given any of them.
 * @throws ModelError when the name does not say which of `count` parts it is
 */
export function partNames(file: string, count: number): string[] {
  const digits = (number: number) => String(number).padStart(5, '0');
  const ending = `-of-${digits(count)}.gguf`;
  const stem = /^(.*)-\d{5}-of-\d{5}\.gguf$/s.exec(file)?.[1];
  if (stem === undefined || !file.endsWith(ending))
    throw new ModelError(
      'file',
      `${path.basename(file)} is one of ${count} parts of a model: give all of them their names back, NAME-00001${ending} and so on`,
    );
  return Array.from({ length: count }, (_, part) => `${stem}-${digits(part + 1)}${ending}`);
}

/** The file that a split model begins with, given any of its files; a name of no part is returned as it is. */
export function firstPartName(file: string): string {
  return file.replace(/-\d{5}(-of-\d{5}\.gguf)$/, '-00001$1');
}
