import { Option, type Command } from 'commander';
import { checkSettings, flagOrigin, mergeSettings } from '../app/settings/check.js';
import { readConfigFile } from '../app/settings/config-file.js';
import {
  engineSettings,
  settings,
  type SettingName,
  type Settings,
} from '../app/settings/settings.js';

/** Settings that say which model runs where; `chat`, `run` and `bench` share them. */
export const clusterSettings: readonly SettingName[] = [
  'model',
  'layers',
  'spawn',
  'workers',
  'context',
  'kvType',
  'codec',
  'transport',
  'rdmaDevice',
  'rdmaQueue',
  ...engineSettings,
  'chunk',
  'pin',
  'secretFile',
  'insecure',
  'cacheDir',
  'kvDisk',
  'draft',
  'speculate',
  'logLevel',
];

/** Settings of how tokens are chosen, in the order in which they work. */
export const samplingSettings: readonly SettingName[] = [
  'repetitionPenalty',
  'topK',
  'typicalP',
  'topP',
  'minP',
  'temperature',
  'seed',
];

/** Settings of an answer; `chat` and `run` share them. */
export const answerSettings: readonly SettingName[] = [
  'maxTokens',
  ...samplingSettings,
  'system',
  'reasoning',
];

/** Gives a command the flags of some settings, and `--config` for a file with them. */
export function addSettings(command: Command, names: readonly SettingName[]): Command {
  for (const name of names) {
    const { flag, help } = settings[name];
    command.addOption(new Option(flag, help));
  }
  return command.option('--config <file>', 'YAML file with settings; flags win over it');
}

/**
 * The settings of a command: its flags, and what they leave open from its config file.
 * @param flags what commander parsed
 * @throws UsageError
 */
export function settingsFrom(flags: Readonly<Record<string, unknown>>): Settings {
  const given = checkSettings(flags, flagOrigin);
  const { config } = flags;
  return mergeSettings(given, typeof config === 'string' ? readConfigFile(config) : {});
}
