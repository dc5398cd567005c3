import type { z } from 'zod';
import { syntheticShapes, syntheticTypes } from '../model/synthetic.js';
import { deviceKinds, engineNames, kvTypes } from '../engine/engine.js';
import { providerNames } from '../engine/onnx/providers.js';
import { codecNames } from '../transport/codecs/codecs.js';
import { speculationModes } from '../speculative/schedule.js';
import { transportChoices } from '../transport/open-channel.js';
import { queueKinds } from '../transport/rdma/queue-pair.js';
import { UsageError } from './errors.js';
import { nearest } from './nearest.js';
import * as type from './setting-types.js';

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

/** All settings. A config file names them as the long flags do, without the dashes. */
export const settings = {
  model: type.path({ flag: '-m, --model <file>', help: 'model file (GGUF)' }),
  draft: type.draft({
    flag: '--draft <what>',
    help: 'guess tokens ahead with a small model (its file), with ngram (what the text repeats), or both: ngram+FILE',
  }),
  speculate: type.oneOf(
    {
      flag: '--speculate <mode>',
      help: 'how guesses are used: off, sync, pipelined, or auto, which measures and picks (default: auto with --draft)',
    },
    speculationModes,
  ),
  synthetic: type.oneOf(
    { flag: '--synthetic <shape>', help: 'random weights of a shape instead of a model file' },
    Object.keys(syntheticShapes),
  ),
  type: type.oneOf(
    { flag: '--type <type>', help: 'type of synthetic weights (default: q4_0)' },
    syntheticTypes,
  ),
  layers: type.layerCounts({
    flag: '--layers <counts>',
    help: "layers per stage, the coordinator's first, like 13,3 (default: by free memory)",
  }),
  spawn: type.toggle({ flag: '--spawn', help: 'start the workers on this machine, and end them' }),
  workers: type.addresses({
    flag: '--worker, --workers <address...>',
    help: 'workers that run already, HOST:PORT, in pipeline order',
  }),
  context: type.wholeNumber(
    {
      flag: '--context <tokens>',
      help: "tokens that a conversation may have (default: the model's, at most 8192)",
    },
    16,
    16_777_216,
  ),
  kvType: type.oneOf(
    {
      flag: '--kv-type <type>',
      help: 'how keys and values are kept (default: f16, for which --engine onnx keeps f32)',
    },
    kvTypes,
  ),
  codec: type.someOf(
    {
      flag: '--codec <name>',
      help: 'how hidden states travel: f32 is exact; fp8,f32 sets every link (default: fp8)',
    },
    codecNames,
  ),
  transport: type.oneOf(
    {
      flag: '--transport <name>',
      help: 'what hidden states travel by: tcp, rdma, or auto, which takes RDMA where both ends have it (default: auto)',
    },
    transportChoices,
  ),
  rdmaDevice: type.text({
    flag: '--rdma-device <name>',
    help: 'RDMA device of this machine, by name or IPv4 address (default: the one that workers are reached by)',
  }),
  rdmaQueue: type.oneOf(
    {
      flag: '--rdma-queue <kind>',
      help: 'rc repeats lost frames, uc is what Thunderbolt has (default: what suits the system)',
    },
    queueKinds,
  ),
  device: type.oneOf(
    { flag: '--device <kind>', help: 'what computes (default: auto, the best there is)' },
    deviceKinds,
  ),
  engine: type.oneOf(
    { flag: '--engine <name>', help: 'ggml, or onnx: ONNX Runtime (default: ggml)' },
    engineNames,
  ),
  provider: type.oneOf(
    {
      flag: '--provider <name>',
      help: 'what computes for --engine onnx (default: cpu; doctor says which there are)',
    },
    providerNames,
  ),
  requantize: type.toggle({
    flag: '--requantize',
    help: 'let --engine onnx turn types that it lacks, such as q4_K, into 8 bits',
  }),
  threads: type.wholeNumber(
    {
      flag: '--threads <count>',
      help: 'CPU threads per process (default: its share of the cores)',
    },
    1,
    1024,
  ),
  chunk: type.wholeNumber(
    { flag: '--chunk <tokens>', help: 'most tokens of a prompt in one step (default: 512)' },
    1,
    8192,
  ),
  maxTokens: type.wholeNumber(
    { flag: '--max-tokens <count>', help: 'most tokens of an answer' },
    1,
    16_777_216,
  ),
  temperature: type.numberBetween(
    { flag: '--temperature <value>', help: 'randomness; 0 always takes the likeliest token' },
    0,
    10,
  ),
  topK: type.wholeNumber(
    { flag: '--top-k <count>', help: 'choose among the k likeliest tokens; 0 is all' },
    0,
    1_000_000,
  ),
  topP: type.share({
    flag: '--top-p <share>',
    help: 'choose among the likeliest tokens that make up this share',
  }),
  minP: type.share({
    flag: '--min-p <share>',
    help: 'drop tokens less likely than this share of the likeliest',
  }),
  repetitionPenalty: type.numberBetween(
    { flag: '--repetition-penalty <factor>', help: 'above 1: recent tokens are less likely again' },
    0.01,
    10,
  ),
  seed: type.wholeNumber(
    { flag: '--seed <number>', help: 'the same seed gives the same text (default: random)' },
    0,
    4_294_967_295,
  ),
  system: type.text({ flag: '--system <text>', help: 'system prompt' }),
  pin: type.toggle({
    flag: '--pin',
    help: 'bind every process to a core of its own (Linux), one thread each unless --threads says more',
  }),
  core: type.wholeNumber(
    { flag: '--core <index>', help: 'bind this worker to a core (Linux)' },
    0,
    4095,
  ),
  host: type.text({ flag: '--host <address>', help: 'address to listen on (default: 127.0.0.1)' }),
  port: type.wholeNumber(
    {
      flag: '--port <number>',
      help: `port to listen on (default: ${type.defaultPort}; 0: any free one)`,
    },
    0,
    65_535,
  ),
  secretFile: type.path({
    flag: '--secret-file <file>',
    help: 'file with the cluster secret (default: DAISYCHAIN_SECRET, or the one of `secret new`)',
  }),
  insecure: type.toggle({
    flag: '--insecure',
    help: 'neither secret nor encryption: only in a network that is yours alone',
  }),
  cacheDir: type.path({
    flag: '--cache-dir <folder>',
    help: 'where received shards and hashes are kept',
  }),
  logLevel: type.oneOf(
    { flag: '--log-level <level>', help: `how much is logged to stderr: ${logLevels.join(', ')}` },
    logLevels,
  ),
} as const;

export type SettingName = keyof typeof settings;

/** The settings that were given; absent ones have their defaults where they are used. */
export type Settings = {
  readonly [Name in SettingName]?: z.output<(typeof settings)[Name]['schema']>;
};

export const settingNames = Object.keys(settings) as SettingName[];

/** The name of a setting in a config file, which is also its long flag. */
export function nameInFile(name: SettingName): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

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
  throw new UsageError(`${prefix}unknown setting "${key}": ${hint}`);
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
      throw new UsageError(`give ${pair.map(flagOrigin.nameOf).join(' or ')}, not both`);
    for (const name of pair) if (!first[name]) delete merged[name];
  }
  return merged;
}

function show(value: unknown): string {
  if (Array.isArray(value) && value.length === 1) return show(value[0]);
  return typeof value === 'string' ? `"${value}"` : (JSON.stringify(value) ?? String(value));
}
