import path from 'node:path';
import {
  engineSettings,
  nameInFile,
  type SettingName,
  type Settings,
} from './settings/settings.js';

/** Where workers listen that serve this machine alone. */
export const loopback = '127.0.0.1';

/** What a worker started with `--announce` writes to stdout, as one line of JSON, when it listens. */
export interface Announcement {
  readonly port: number;
}

/** Settings that a worker shares with the coordinator that starts it. */
const passedOn: readonly SettingName[] = [
  'synthetic',
  'syntheticLayers',
  'type',
  ...engineSettings,
  'cacheLimit',
  'kvDisk',
  'logLevel',
];

/** The command line of a worker. @param core to bind it to */
export function workerArguments(settings: Settings, core?: number): string[] {
  const given = ['worker', '--announce', '--host', loopback, '--port', '0'];
  const add = (name: SettingName, value: string | number | boolean | undefined) => {
    if (value === undefined || value === false) return;
    given.push(`--${nameInFile(name)}`, ...(value === true ? [] : [String(value)]));
  };
  for (const name of passedOn) add(name, settings[name] as string | number | boolean | undefined);
  add('model', settings.model && path.resolve(settings.model));
  add('cacheDir', settings.cacheDir && path.resolve(settings.cacheDir));
  add('core', core);
  if (settings.logLevel === undefined) add('logLevel', 'warn');
  return given;
}
