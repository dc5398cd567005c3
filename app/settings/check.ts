import { UsageError } from '../errors.js';
import { nearest } from './nearest.js';
import { nameInFile, settingNames, settings, type SettingName, type Settings } from './settings.js';

/** Where settings come from, for messages. */
export interface Origin {
  /** Begins messages about all of it, like the name of a file. */
  readonly prefix: string;
  /** How it names a setting. */
  readonly nameOf: (name: SettingName) => string;
}

export const flagOrigin: Origin = {
  prefix: '',
  nameOf: (name) => /--[a-z-]+/.exec(settings[name].flag)?.[0] ?? name,
};

/**
 * Checks values and turns them into settings.
 * @throws UsageError that names where the value comes from, the setting, and what was expected.
 */
export function checkSettings(
  values: Readonly<Partial<Record<SettingName, unknown>>>,
  { prefix, nameOf }: Origin,
): Settings {
  const checked: Partial<Record<SettingName, unknown>> = {};
  for (const name of settingNames) {
    const value = values[name];
    if (value === undefined) continue;
    const result = settings[name].schema.safeParse(value);
    if (!result.success)
      throw new UsageError(
        'setting',
        `${prefix}${nameOf(name)}: expected ${settings[name].expected}, not ${show(value)}`,
      );
    checked[name] = result.data;
  }
  return checked as Settings;
}

/** @throws UsageError for a name that is no setting; it names the nearest one. */
export function settingNamed(key: string, { prefix }: Origin): SettingName {
  const name = settingNames.find((candidate) => nameInFile(candidate) === key);
  if (name) return name;
  const near = nearest(key, settingNames.map(nameInFile));
  const hint = near
    ? `did you mean "${near}"?`
    : `the settings are ${settingNames.map(nameInFile).join(', ')}`;
  throw new UsageError('setting', `${prefix}unknown setting "${key}": ${hint}`);
}

/** Settings that stand for the same choice: giving one undoes the other. */
const alternatives: readonly (readonly [SettingName, SettingName])[] = [
  ['spawn', 'workers'],
  ['model', 'synthetic'],
];

/**
 * Settings from both; the first win.
 * @throws UsageError when the result contradicts itself.
 */
export function mergeSettings(first: Settings, second: Settings): Settings {
  const merged: Record<string, unknown> = { ...second, ...first };
  for (const pair of alternatives) {
    if (!pair.every((name) => merged[name])) continue;
    const chosen = pair.filter((name) => first[name]);
    if (chosen.length !== 1)
      throw new UsageError(
        'combination',
        `give ${pair.map(flagOrigin.nameOf).join(' or ')}, not both`,
      );
    for (const name of pair) if (!first[name]) delete merged[name];
  }
  return merged;
}

function show(value: unknown): string {
  if (Array.isArray(value) && value.length === 1) return show(value[0]);
  return typeof value === 'string' ? `"${value}"` : (JSON.stringify(value) ?? String(value));
}
