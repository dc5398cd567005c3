import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseDocument } from 'yaml';
import { UsageError } from '../errors.js';
import { checkSettings, settingNamed, type Origin } from './check.js';
import type { Setting } from './kinds.js';
import { nameInFile, settings, type SettingName, type Settings } from './settings.js';

/**
 * Reads settings from a YAML file. Paths in it are relative to the file.
 * @throws UsageError that names the file, the setting and what was expected.
 */
export function readConfigFile(file: string): Settings {
  const origin: Origin = { prefix: `${file}: `, nameOf: nameInFile };
  const values: Partial<Record<SettingName, unknown>> = {};
  for (const [key, value] of Object.entries(parse(file))) {
    const name = settingNamed(key, origin);
    if (value === null)
      throw new UsageError(
        'setting',
        `${file}: ${key}: expected ${settings[name].expected}, not nothing`,
      );
    const { relocate }: Pick<Setting<unknown>, 'relocate'> = settings[name];
    values[name] =
      relocate && typeof value === 'string'
        ? relocate(value, (given) => resolvePath(given, file))
        : value;
  }
  return checkSettings(values, origin);
}

function parse(file: string): Record<string, unknown> {
  const document = parseDocument(read(file));
  const [error] = document.errors;
  if (error) {
    const [what] = error.message.split('\n');
    throw new UsageError('file', `${file}: not valid YAML: ${what?.replace(/:$/, '')}`);
  }
  const content: unknown = document.toJS() ?? {};
  if (typeof content !== 'object' || content === null || Array.isArray(content))
    throw new UsageError('file', `${file}: expected lines like "model: models/demo.gguf"`);
  return content as Record<string, unknown>;
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      'file',
      code === 'ENOENT'
        ? `no such config file: ${path.resolve(file)}`
        : `cannot read the config file ${file}: ${code}`,
      { cause: error },
    );
  }
}

function resolvePath(value: string, file: string): string {
  const expanded = value.startsWith('~/') ? path.join(os.homedir(), value.slice(2)) : value;
  return path.resolve(path.dirname(file), expanded);
}
